"""QiZhen's drugs: what a drug is for, as experts marked it.

    {"药品": "地屈孕酮片", "instruction": "地屈孕酮片的适应病症是什么？",
     "药品适应症": "<p>…</p>", "医学专家标注的适应病症": "痛经|继发性闭经"}

The answer lists what the experts marked; the leaflet stays in ``meta``.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Row, _single, _turns
from xinglin.data.records import Message, Origin

RECORD = "conversation"
UNIT = "row"
ANSWER = "医学专家标注的适应病症"


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    return isinstance(row, dict) and {"instruction", ANSWER} <= row.keys() and "output" not in row


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Any]:
    listed = [part.strip() for part in _single.answered(row[ANSWER], ANSWER).split("|")]
    turns = [
        Message("user", _turns.text(row["instruction"], "instruction")),
        Message("assistant", "、".join(part for part in listed if part)),
    ]
    meta = _turns.rest(row, "instruction", ANSWER)
    yield from _turns.conversation(turns, origin=origin, meta=meta)
