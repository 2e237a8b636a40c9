"""Chinese-medical-dialogue-data (Toyhom): a title, a question and an answer, as a table or as blocks of text.

    {"department": "心血管科", "title": "高血压能吃党参吗", "ask": "我有高血压，可以吃党参吗？", "answer": "可以口服。"}

    高血压能吃党参吗,我有高血压，可以吃党参吗？
    可以口服。
    (two empty lines)

The question is the title and, below it, what is asked, unless that repeats the title or is 无.
"""

import re
from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Reject, Repair, Row, _single, _turns
from xinglin.data.records import Conversation, Origin

RECORD = "conversation"
UNIT = "file"
BLOCKS = re.compile(r"\s*+(?:(?=[^\n]{2,}?[,，])[^\n]*+\n[^\n]{2,}+\n{3,}){2}")
Options = _single.HistoryOptions


def matches(row: Row) -> bool:
    if isinstance(row, str):
        return BLOCKS.match(row) is not None
    return isinstance(row, dict) and {"ask", "answer"} <= row.keys() and "options" not in row


def cut(lines: Iterator[str], options: Options) -> Iterator[tuple[int, dict[str, str]]]:
    block: list[str] = []
    start = 1
    for number, line in enumerate(lines, start=1):
        if line.strip():
            start = start if block else number
            block.append(line.strip())
        elif block:
            yield start, _named(block)
            block = []
    if block:
        yield start, _named(block)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    answer = _single.answered(row["answer"], "answer")
    question = _single.joined(*(_turns.text(row.get(key), key) for key in ("title", "ask")))
    if not question:
        raise Reject("empty_message", "neither title nor ask says anything")
    meta = _turns.rest(row, "title", "ask", "answer")
    yield from _single.conversation(question, answer, options, before=[], origin=origin, meta=meta)


def _named(block: list[str]) -> dict[str, str]:
    title, _, ask = (
        block[0].replace("，", ",").partition(",") if "," not in block[0] else block[0].partition(",")
    )
    return {"title": title, "ask": ask, "answer": "\n".join(block[1:])}
