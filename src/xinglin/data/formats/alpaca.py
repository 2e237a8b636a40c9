"""One question and answer as Alpaca: instruction, input, output.

    {"instruction": "给出用药建议。", "input": "感冒，无过敏史。", "output": "多休息，多喝水。",
     "history": [["您好", "您好，请说。"]], "system": "你是一名医生。"}

The user message is the instruction and, on the next line, the input where there is one. ``history`` and
``system`` are optional. Values may be lists of one string (Zhongjing). A dialogue that was written into the instruction
(``<user>: … <bot>: … <user>: …``: Huatuo-Llama-Med) becomes messages again.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Repair, Row, _single, _turns
from xinglin.data.records import Conversation, Origin

RECORD = "conversation"
UNIT = "row"
Options = _single.HistoryOptions


def matches(row: Row) -> bool:
    """``output`` with a better and a worse answer, or ``chosen``, is a preference."""
    if not isinstance(row, dict) or not {"instruction", "output"} <= row.keys() or "chosen" in row:
        return False
    if _turns.judged(row):
        return False
    return not (isinstance(row["output"], list) and len(row["output"]) > 1)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    asked = [_turns.text(row.get(key), key) for key in ("instruction", "input")]
    answer = _single.answered(row["output"], "output")
    before = _turns.system_first(
        _turns.text(row.get("system"), "system"),
        _turns.history(row.get("history"), train=options.train_history),
    )
    meta = _turns.rest(row, "instruction", "input", "output", "history", "system")
    question = "\n".join(part for part in asked if part.strip())
    return _single.conversation(question, answer, options, before=before, origin=origin, meta=meta)
