"""Dialogues as a list of exchanges, each a question with its answer.

    {"conversation": [{"human": "感冒了怎么办？", "assistant": "休息。"}, {"human": "吃药吗？", "assistant": "不用。"}]}
    {"description": "男，49岁，腹外疝。", "QA_pairs": [{"question": "诊断是什么？", "solution": "腹外疝。"}]}

The first form is that of Taiyi and firefly (xtuner says ``input`` and ``output``), the second that of CMB-Clin. A
``description`` opens the first question; a ``system`` beside the list or in its first exchange opens the conversation.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Reject, Repair, Row, _single, _turns
from xinglin.data.records import Conversation, Message, Origin

RECORD = "conversation"
UNIT = "row"
LISTS = ("conversation", "conversations", "qa_pairs", "qas", "dialogue", "turns")
ASKED = ("human", "user", "question", "query", "input", "问", "问题")
ANSWERED = ("assistant", "gpt", "answer", "solution", "response", "output", "答", "回答")
Options = _turns.TurnOptions


def matches(row: Row) -> bool:
    return isinstance(row, dict) and "chosen" not in row and not _turns.judged(row) and _key(row) is not None


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    key = _key(row)
    assert key is not None  # it matches
    turns: list[Message] = []
    opening = _turns.text(row.get("description"), "description")
    for number, exchange in enumerate(row[key], start=1):
        asked, answered = _names(exchange, number)
        question = _turns.text(exchange[asked], f"{asked} {number}")
        turns.append(Message("user", _single.joined(opening, question)))
        turns.append(Message("assistant", _turns.text(exchange[answered], f"{answered} {number}")))
        opening = ""
    system = row.get("system") or row[key][0].get("system")
    turns = _turns.system_first(_turns.text(system, "system"), turns)
    yield from _turns.conversation(
        turns, options, origin=origin, meta=_turns.rest(row, key, "description", "system")
    )


def _key(row: dict[str, Any]) -> str | None:
    for key, value in row.items():
        if isinstance(key, str) and key.lower() in LISTS and isinstance(value, list) and value:
            first = value[0]
            if isinstance(first, dict) and not {"role", "from"} & first.keys() and _found(first):
                return key
    return None


def _found(exchange: dict[str, Any]) -> tuple[str, str] | None:
    asked = next((name for name in ASKED if name in exchange), None)
    answered = next((name for name in ANSWERED if name in exchange), None)
    return (asked, answered) if asked and answered else None


def _names(exchange: Any, number: int) -> tuple[str, str]:
    found = _found(exchange) if isinstance(exchange, dict) else None
    if found is None:
        raise Reject("bad_roles", f"exchange {number} is no question with its answer")
    return found
