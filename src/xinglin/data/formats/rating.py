"""Ratings: an answer that is said to be good or bad, for KTO.

    {"messages": [{"role": "user", "content": "孕妇感冒吃什么药？"}, {"role": "assistant", "content": "吃布洛芬。"}],
     "label": false}

The judgement stands under ``label`` (TRL) or ``kto_tag`` (LLaMA-Factory), as true or false or as their names, and is of
the last answer. The rest is any row of the formats messages and sharegpt, or a ``prompt`` and a ``completion`` as texts
(TRL) or ``instruction``, ``input`` and ``output`` (LLaMA-Factory's alpaca form, with ``system`` and ``history``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from xinglin.data.formats import Reject, Repair, Row, _tools, _turns
from xinglin.data.records import Message, Origin, Rating

RECORD = "rating"
UNIT = "row"
LISTS = ("messages", "conversations", "conversation")
JUDGEMENTS = ("label", "kto_tag")
COLUMNS = ("system", "history", "instruction", "input", "output", "prompt", "completion")
Options = _turns.TurnOptions


def matches(row: Row) -> bool:
    if not isinstance(row, dict) or "chosen" in row or not _turns.judged(row):
        return False
    talk = any(_turns.speaks(row.get(key), role) for key in LISTS for role in ("role", "from"))
    return talk or ("prompt" in row and "completion" in row) or ("instruction" in row and "output" in row)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Rating | Repair]:
    key = next((key for key in LISTS if key in row), None)
    turns = _turns.messages(row[key], system=row.get("system"), tools=True) if key else _answered(row)
    read = (*LISTS, *JUDGEMENTS, *_tools.KEYS, *(("system",) if key else COLUMNS))
    made = _turns.conversation(
        turns, options, origin=origin, meta=_turns.rest(row, *read), tools=_tools.described(row)
    )
    for item in made:
        yield item if isinstance(item, Repair) else _rated(item.messages, item, good=_good(row))


def _rated(messages: tuple[Message, ...], talk: Any, *, good: bool) -> Rating:
    """The conversation of which only the last answer counts."""
    *before, last = messages
    history = (replace(message, train=False) for message in before)
    return Rating((*history, replace(last, train=True)), talk.origin, talk.meta, talk.tools, good)


def _good(row: Mapping[str, Any]) -> bool:
    value = next(row[key] for key in JUDGEMENTS if row.get(key) is not None)
    return value if isinstance(value, bool) else str(value).strip().lower() == "true"


def _answered(row: Mapping[str, Any]) -> list[Message]:
    """Turns of a question and its answer in columns; either may also be a list of messages."""
    if "completion" in row:
        parts = [_said(row["prompt"], "user"), _said(row["completion"], "assistant")]
        turns = [message for part in parts for message in part]
    else:
        asked = [_turns.text(row.get(name), name) for name in ("instruction", "input")]
        question = Message("user", "\n".join(part for part in asked if part.strip()))
        answer = Message("assistant", _turns.text(row["output"], "output"))
        turns = [*_turns.history(row.get("history"), train=False), question, answer]
    return _turns.system_first(_turns.text(row.get("system"), "system"), turns)


def _said(value: Any, role: Any) -> list[Message]:
    if not isinstance(value, str):
        return _turns.messages(value, tools=True)
    if not value.strip():
        raise Reject("empty_message", f"the {role} message is empty")
    return [Message(role, value)]
