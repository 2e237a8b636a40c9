"""Questions and answers as lists, nested or not (Huatuo encyclopedia and knowledge graph).

    {"questions": [["曲匹地尔片的用法用量", "曲匹地尔片怎么服用"]], "answers": ["口服，一次 1 至 2 片。"]}

Each wording of a question makes a conversation of its own. As many answers as questions belong to them in order; one
answer belongs to all of them.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _single, _turns
from xinglin.data.records import Conversation, Message, Origin

RECORD = "conversation"
UNIT = "row"
KEYS = (("questions", "answers"), ("question", "answer"))

OTHERS = {"options", "option", "opa", "A", "chosen"}
"""Columns by which a row is an exam question or a preference."""


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    return isinstance(row, dict) and _keys(row) is not None


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    keys = _keys(row)
    assert keys is not None  # it matches
    asked, given = (row[key] if isinstance(row[key], list) else [row[key]] for key in keys)
    answers = [_single.answered(answer, "answer") for answer in given]
    if len(answers) == 1:
        answers *= len(asked)
    if not asked or len(answers) != len(asked):
        raise Reject("unmatched_answers", f"{len(asked)} questions and {len(given)} answers")
    meta = _turns.rest(row, *keys)
    wordings = [
        (_turns.text(wording, "question"), answer)
        for wordings, answer in zip(asked, answers, strict=True)
        for wording in (wordings if isinstance(wordings, list) else [wordings])
    ]
    for question, answer in wordings:
        turns = [Message("user", question), Message("assistant", answer)]
        yield from _turns.conversation(turns, origin=origin, meta=meta)


def _keys(row: dict[str, Any]) -> tuple[str, str] | None:
    """Lists of one text on both sides are left to ``pairs``."""
    if OTHERS & row.keys():
        return None
    for asked, given in KEYS:
        if asked in row and given in row and isinstance(row[asked], list):
            if _single.is_one(row[asked]) and _single.is_one(row[given]):
                return None
            return asked, given
    return None
