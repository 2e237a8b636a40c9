"""Questions from text: a question that a text answers, and a whole answer from it (HuatuoGPT-II, arXiv 2311.09774)."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from xinglin.config.parts import Fraction, Positive
from xinglin.data.records import Conversation, Document, Kind, Message, Record
from xinglin.synthesis.checks import (
    check_answer,
    check_grounded,
    check_language,
    check_length,
    check_standalone,
    unwrapped,
)
from xinglin.synthesis.task import Ask, Expected, Item, Rejected, TaskConfig

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ("document",)
_SENTENCE = re.compile(r"[^。！？!?；;\n]*?(?:[。！？!?；;\n]+[”’」』）)]*|\.(?=\s)|$)")


class Config(TaskConfig):
    """Questions and answers from documents."""

    name: Literal["questions_from_text"]
    """Which task: a file in ``synthesis/tasks/``."""
    passage_characters: Positive = 600
    """Documents are cut into passages of about this length, at the ends of sentences."""
    shortest_passage: Positive = 40
    """Passages with fewer characters are rejected."""
    max_passages: Positive | None = None
    """At most so many of a document, from its beginning. Default: all."""
    longest_question: Positive = 180
    """In characters. English ones may be three times as long."""
    shortest_answer: Positive = 20
    """In characters."""
    longest_answer: Positive = 1200
    """In characters. English ones may be three times as long."""
    support: Fraction = 0.35
    """The share of an answer's pairs of characters, or of its words, that the passage must have. Numbers and names of
    drugs must all be there."""


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    for record in records:
        assert isinstance(record, Document)
        found = passages(record.text, config.passage_characters, config.shortest_passage)
        yield from (Item(record, passage) for passage in found[: config.max_passages])


def requests(config: Config) -> Sequence[Expected]:
    return [Expected(), Expected(replies=1)]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    passage: str = item.value
    if len(passage) < config.shortest_passage:
        raise Rejected("passage_too_short", f"{len(passage)} characters")
    longer = 1 if ask.chinese else 3
    question = unwrapped(await ask("question", text=passage))
    check_length(question, least=4, most=config.longest_question * longer, what="question")
    check_standalone(question, what="question")
    check_language(question, chinese=ask.chinese)
    answer = unwrapped(await ask("answer", text=passage, question=question))
    check_length(answer, least=config.shortest_answer, most=config.longest_answer * longer, what="answer")
    check_standalone(answer, what="answer")
    check_answer(question, answer)
    check_language(answer, chinese=ask.chinese)
    check_grounded(answer, [passage, question], support=config.support)
    messages = (Message("user", question), Message("assistant", answer))
    return [Conversation(messages, item.record.origin, item.record.meta)]


def passages(text: str, longest: int, shortest: int) -> list[str]:
    """``text`` in pieces of whole sentences of about ``longest`` characters; a short rest belongs to the last one."""
    found = [""]
    for sentence in (match[0] for match in _SENTENCE.finditer(text)):
        for start in range(0, len(sentence), longest):
            piece = sentence[start : start + longest]
            if found[-1] and len(found[-1]) + len(piece) > longest:
                found.append("")
            found[-1] += piece
    if len(found) > 1 and len(found[-1].strip()) < shortest:
        found[-2:] = ["".join(found[-2:])]
    return [passage.strip() for passage in found if passage.strip()] or [text.strip()]
