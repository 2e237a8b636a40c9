"""Preferences read as conversations: the accepted answers alone, or both answers in Chain of Hindsight.

Chain of Hindsight (arXiv 2302.02676) asks for an answer of a stated quality, so that a model learns what sets good
answers apart by being trained on both. Every pair gives four conversations:

    P     question + "give a helpful answer"    -> better answer
    N     question + "give an unhelpful answer" -> worse answer
    PN    P, then "now give a worse one"        -> worse answer
    NP    N, then "now give a better one"       -> better answer

The loss counts answers only. What asks for a quality is one of several phrases in the language of the question,
chosen by the text of the pair alone. A model trained so is asked with ``helpful(question)``.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from xinglin.data.records import Conversation, Message, Preference, texts
from xinglin.data.writing.language import contains_chinese

Reading = Literal["pairs", "chosen", "hindsight"]
KEY = "hindsight"
"""Where a conversation's ``meta`` says which of the four it is."""

_PHRASES = {  # Chinese? -> quality -> ways to ask for it; the first one is asked at inference
    True: {
        "helpful": ("请给出有帮助的回答。", "请给出一个好的回答。", "请给出准确而安全的回答。"),
        "unhelpful": ("请给出没有帮助的回答。", "请给出一个不好的回答。", "请给出一个有缺陷的回答。"),
        "better": ("现在请给出更好的回答。", "请改写成更有帮助的回答。", "请给出一个比它好的回答。"),
        "worse": ("现在请给出更差的回答。", "请改写成没有帮助的回答。", "请给出一个比它差的回答。"),
    },
    False: {
        "helpful": ("Give a helpful answer.", "Give a good answer.", "Give an accurate and safe answer."),
        "unhelpful": ("Give an unhelpful answer.", "Give a bad answer.", "Give a flawed answer."),
        "better": ("Now give a better answer.", "Make that more helpful.", "Give an answer that beats it."),
        "worse": ("Now give a worse answer.", "Make that less helpful.", "Give an answer that it beats."),
    },
}


class Unused(Exception):
    """A preference that gives no conversation: reason, detail."""


def helpful(question: str) -> str:
    """``question`` as a model trained by Chain of Hindsight is asked it."""
    return f"{question}\n\n{_PHRASES[contains_chinese(question)]['helpful'][0]}"


def is_chain(record: Any) -> bool:
    """Whether a record is PN or NP, whose second request means nothing without the first."""
    return isinstance(record, Conversation) and len(record.meta.get(KEY, "")) == 2


class PreferenceReader:
    """Makes conversations of preferences; other records, and pairs that are read as pairs, stay as they are."""

    def __init__(self, reading: Reading):
        self.reading = reading
        self._seen: set[int] = set()

    def read(self, record: Any) -> list[Any]:
        """What is trained on for ``record``.

        Raises:
            Unused: an accepted answer that has been read already, or two answers that are the same.
        """
        if not isinstance(record, Preference) or self.reading == "pairs":
            return [record]
        return [self._accepted(record)] if self.reading == "chosen" else list(_chains(record))

    def _accepted(self, record: Preference) -> Conversation:
        seen = hash("\0".join(texts(replace(record, rejected="", rejected_calls=()))))
        if seen in self._seen:
            raise Unused("duplicate", "an earlier pair has this prompt and this accepted answer")
        self._seen.add(seen)
        return _talk(record, (*_untrained(record.prompt), record.answers[0]), "")


def _chains(record: Preference) -> Iterator[Conversation]:
    good, bad = record.answers
    if good.tool_calls or bad.tool_calls or record.prompt[-1].role == "tool":
        raise Unused("tool_use", "what calls tools, or answers their results, cannot be asked for by quality")
    if good.content.strip() == bad.content.strip():
        raise Unused("tie", "both answers are the same")
    *history, asked = _untrained(record.prompt)
    chinese = contains_chinese(asked.content)

    def phrase(quality: str, view: str) -> str:
        ways = _PHRASES[chinese][quality]
        text = "\n".join([view, asked.content, record.chosen, record.rejected])
        return ways[zlib.crc32(text.encode()) % len(ways)]

    for view, first, quality, second, further in (
        ("P", good, "helpful", None, ""),
        ("N", bad, "unhelpful", None, ""),
        ("PN", good, "helpful", bad, "worse"),
        ("NP", bad, "unhelpful", good, "better"),
    ):
        request = replace(asked, content=f"{asked.content}\n\n{phrase(quality, view)}")
        rest = () if second is None else (Message("user", phrase(further, view)), second)
        yield _talk(record, (*history, request, first, *rest), view)


def _untrained(prompt: Sequence[Message]) -> list[Message]:
    return [replace(message, train=False) for message in prompt]


def _talk(record: Preference, messages: tuple[Message, ...], view: str) -> Conversation:
    meta = {**record.meta, KEY: view} if view else record.meta
    return Conversation(messages, record.origin, meta, record.tools)
