"""Preference pairs: a prompt, a better and a worse answer.

    {"prompt": [{"role": "user", "content": "孕妇感冒吃什么药？"}],
     "chosen": [{"role": "assistant", "content": "先别自行用药，请看产科。"}],
     "rejected": [{"role": "assistant", "content": "吃布洛芬。"}]}

Each answer is a string, one message (from/value or role/content) or a list of one. It may call a tool, as in the
formats messages and sharegpt, or, where ``tools`` describes one of that name, as LLaMA-Factory prints calls:
``Action: NAME`` and ``Action Input: {…}`` on two lines. The prompt, which may end on results of tools, is any of

    prompt                        a string or messages (TRL); when absent, what both answers begin with
    conversations, messages       messages that end on the user (LLaMA-Factory, MedicalGPT)
    system, history, question     with chosen/rejected or response_chosen/response_rejected (MedicalGPT)
    chosen_messages, rejected_messages   whole dialogues that begin alike (LLaMA-Factory v1)
    instruction, input            with chosen/rejected, or ``output`` as [better, worse] (comparison_gpt4)

Instead of two answers there may be more, under ``answers``, ``responses`` or ``completions``: texts with the best one
first, texts with a list of ``ranks`` (1 is best) or ``scores`` beside them, or objects with a text and a ``rank`` or
``score``; or in columns ``rank1``, ``rank2``, … (Zhongjing). Every two of them of which one is better become a pair,
unless ``pairs`` says otherwise; ``meta.margin`` is the difference of their scores.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _ranked, _tools, _turns
from xinglin.data.records import Message, Origin, Preference

RECORD = "preference"
UNIT = "row"
ANSWERS = (
    ("chosen", "rejected"),
    ("response_chosen", "response_rejected"),
    ("chosen_messages", "rejected_messages"),
)
PROMPTS = ("prompt", "conversations", "messages")
READ = (
    "system",
    "history",
    "question",
    "query",
    "instruction",
    "input",
    "output",
    *_tools.KEYS,
    *PROMPTS,
    *sum(ANSWERS, ()),
)
_ACTION = re.compile(
    r"\s*Action:\s*(?P<name>\S+)[^\S\n]*+\n\s*+Action Input:\s*(?P<arguments>\{.*\})\s*", re.DOTALL
)
ASKED = ("prompt", "question", "query", "instruction")


class Options(Config):
    pairs: _ranked.Which = "all"
    """Which pairs a ranked list of answers gives: every two of them, neighbours in the order only, or the best with the
    worst. A list of n gives n(n-1)/2, n-1 or 1."""


def matches(row: Row) -> bool:
    if not isinstance(row, dict):
        return False
    if any(better in row and worse in row for better, worse in ANSWERS):
        return True
    if (
        (_ranked.list_key(row) or _ranked.columns(row))
        and any(key in row for key in ASKED)
        and "options" not in row
    ):
        return True
    two = isinstance(row.get("output"), list) and len(row["output"]) == 2
    return "instruction" in row and two and not _turns.judged(row)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Preference | Repair]:
    pair = next(((row[a], row[b]) for a, b in ANSWERS if a in row and b in row), None)
    ranked = None if pair else _ranked.list_key(row)
    if not pair and (columns := _ranked.columns(row)):
        ranked, row = "answers", _listed(row, columns)
    if ranked:
        yield from _ranking(row, ranked, options, origin)
        return
    (shared, better), (shared_too, worse) = (_answer(value) for value in pair or row["output"])
    if shared != shared_too:
        raise Reject("different_prompts", "chosen and rejected do not begin with the same messages")
    prompt, tools = _checked(_prompt(row) + shared), _tools.described(row)
    chosen, rejected = (_called(answer, tools) for answer in (better, worse))
    if (chosen, rejected) != (better, worse):
        yield Repair("action_text_read_as_call")
    if not all(answer.content.strip() or answer.tool_calls for answer in (chosen, rejected)):
        raise Reject("no_answer", "chosen or rejected is empty")
    if (chosen.content.strip(), chosen.tool_calls) == (rejected.content.strip(), rejected.tool_calls):
        raise Reject("chosen_equals_rejected", chosen.content[:80] or str(chosen.tool_calls[0].name))
    empty = Preference(prompt, "", "", origin, _turns.rest(row, *READ), tools)
    yield empty.changed(prompt, chosen, rejected)


def _called(answer: Message, tools: Sequence[Mapping[str, Any]]) -> Message:
    """An answer that prints a call of one of the tools, as that call."""
    found = _ACTION.fullmatch(answer.content)
    if not found or found["name"] not in [tool["function"]["name"] for tool in tools]:
        return answer
    call = {"name": found["name"], "arguments": found["arguments"]}
    return replace(answer, content="", tool_calls=_tools.calls(call, "the answer"))


def _listed(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """A row with its ranked columns as one list; empty ones were not filled in."""
    texts = [_turns.text(row[column], column) for column in columns]
    rest = {key: value for key, value in row.items() if key not in columns}
    return {**rest, "answers": [text for text in texts if text.strip()]}


def _ranking(row: dict[str, Any], key: str, options: Options, origin: Origin) -> Iterator[Preference]:
    """All pairs of a row with several answers, which are texts."""
    _turns.no_tools(row)
    prompt = _checked(_prompt(row))
    meta = _turns.rest(row, *READ, key, *_ranked.ORDERS)
    found = list(_ranked.pairs(row, key, options.pairs))
    if not found:
        raise Reject("no_better_answer", "all answers are equal, or equally good")
    for better, worse, margin in found:
        yield Preference(
            prompt, better, worse, origin, meta if margin is None else {**meta, "margin": margin}
        )


def _checked(prompt: list[Message]) -> tuple[Message, ...]:
    _turns.check_order(prompt)
    if prompt[-1].role not in ("user", "tool"):
        raise Reject("bad_roles", "the prompt does not end on a user message, or on what a tool answered")
    return tuple(prompt)


def _answer(value: Any) -> tuple[list[Message], Message]:
    """The messages that come before the answer (the whole prompt in TRL's implicit form), and the answer."""
    if value is None or isinstance(value, str):
        return [], Message("assistant", value or "")
    turns = _turns.messages([value] if isinstance(value, dict) else value, tools=True)
    if not turns or turns[-1].role != "assistant":
        raise Reject("bad_roles", "an answer does not end on an assistant message")
    return turns[:-1], replace(turns[-1], train=True)


def _prompt(row: dict[str, Any]) -> list[Message]:
    key = next((key for key in PROMPTS if key in row), None)
    if key is not None and not isinstance(row[key], str):
        turns = _turns.messages(row[key], tools=True)
    else:
        parts = (
            [row[key]] if key else [row.get(name) for name in ("question", "query", "instruction", "input")]
        )
        asked = "\n".join(part for part in (_turns.text(part, "prompt") for part in parts) if part.strip())
        turns = [
            *_turns.history(row.get("history"), train=True),
            *([Message("user", asked)] if asked else []),
        ]
    return _turns.system_first(_turns.text(row.get("system"), "system"), turns)
