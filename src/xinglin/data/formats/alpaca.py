"""One question and answer as Alpaca: instruction, input, output.

    {"instruction": "给出用药建议。", "input": "感冒，无过敏史。", "output": "多休息，多喝水。",
     "history": [["您好", "您好，请说。"]], "system": "你是一名医生。"}

The user message is the instruction and, on the next line, the input where there is one. ``history`` and
``system`` are optional. Values may be lists of one string (Zhongjing).
"""

from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _turns
from xinglin.data.records import Conversation, Message, Origin

RECORD = "conversation"
UNIT = "row"


class Options(Config):
    train_history: bool = False
    """Whether the loss counts the answers in ``history``. Sets with one row per turn repeat every earlier
    answer in the rows after it, so counting them trains on early turns many times over."""


def matches(row: Row) -> bool:
    """``output`` with a better and a worse answer, or ``chosen``, is a preference."""
    if not isinstance(row, dict) or not {"instruction", "output"} <= row.keys() or "chosen" in row:
        return False
    return not (isinstance(row["output"], list) and len(row["output"]) > 1)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    asked = [_turns.text(row.get(key), key) for key in ("instruction", "input")]
    answer = _turns.text(row["output"], "output")
    if not answer.strip():
        raise Reject("no_answer", "output is empty")
    turns = [
        *_turns.history(row.get("history"), train=options.train_history),
        Message("user", "\n".join(part for part in asked if part.strip())),
        Message("assistant", answer),
    ]
    turns = _turns.system_first(_turns.text(row.get("system"), "system"), turns)
    meta = _turns.rest(row, "instruction", "input", "output", "history", "system")
    return _turns.conversation(turns, _turns.TurnOptions(), origin=origin, meta=meta)
