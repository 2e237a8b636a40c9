"""COVID-Dialogue (UCSD-AI4H): consultations as raw text, or as lists of prefixed lines.

    id=1                           ["病人：咳嗽一周了。", "医生：发烧吗？", "病人：不烧。", "医生：多休息。"]
    https://…
    Description                    {"Turn": 2, "Id": 1, "Dialogue": ["病人：…", "医生：…"]}
    疾病： 咳嗽
    病情描述： 咳嗽一周了。
    Dialogue
    医生：
    发烧吗？
    Diagnosis and suggestions
    总结建议： 多休息。

One consultation is one row: an ``id=`` record of a raw file (Chinese, or English with Patient: and Doctor:),
one list of a processed file. Two variants:

``clean`` makes one conversation per row. Raw text: the description section is the patient's first message,
all lines of a message are kept, and the doctor's written advice (总结建议, 处置建议) is the doctor's closing
message; the diagnosis section as a whole travels in ``meta``. The haodf boilerplate is removed, empty turns
are dropped, neighbouring messages of one speaker are joined, a last patient message without answer is dropped.

``per_turn_filtered`` reproduces, text for text and in order, the published per-turn set (covid.zip of
hiyouga/ChatGLM-Efficient-Tuning: 3,471 / 333 / 410 samples) from the processed train, validate and test JSON:
one conversation per doctor turn of at least 5 characters, with all turns before it as untrained history.
History keeps the turns that the length rule dropped, so its answers may be empty, as published.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _turns
from xinglin.data.records import Conversation, Message, Origin, Role
from xinglin.data.writing.boilerplate import HAODF

RECORD = "conversation"
UNIT = "file"

SPEAKERS: dict[str, Role] = {
    "病人：": "user",
    "医生：": "assistant",
    "Patient:": "user",
    "Doctor:": "assistant",
}
SECTIONS = ("Description", "Dialogue", "Diagnosis and suggestions")
FIELD = re.compile(r"^([^：:，。？！\s]{2,12})：\s*(.*)$")
ADVICE = ("总结建议", "处置建议")
MIN_ANSWER_CHARACTERS = 5
TURNS = _turns.TurnOptions(unanswered="drop", repeated="merge")


class Options(Config):
    variant: Literal["clean", "per_turn_filtered"] = "clean"
    """``clean``: one conversation per consultation. ``per_turn_filtered``: the published per-turn set."""


def matches(row: Row) -> bool:
    if isinstance(row, str):
        return re.match(r"\s*id=\d+[ \t]*\n\s*https?://", row) is not None
    lines = row.get("Dialogue") if isinstance(row, dict) else row
    return isinstance(lines, list) and bool(lines) and all(
        isinstance(line, str) and line.startswith(tuple(SPEAKERS)) for line in lines
    )  # fmt: skip


def cut(lines: Iterator[str], options: Options) -> Iterator[tuple[int, str]]:
    record: list[str] = []
    start = 1
    for number, line in enumerate(lines, start=1):
        if re.match(r"id=\d+\s*$", line):
            if any(kept.strip() for kept in record):
                yield start, "".join(record)
            record, start = [], number
        record.append(line)
    if any(kept.strip() for kept in record):
        yield start, "".join(record)


def parse(
    row: dict[str, Any] | list[str] | str, options: Options, origin: Origin
) -> Iterator[Conversation | Repair]:
    if isinstance(row, str):
        if options.variant == "per_turn_filtered":
            raise Reject(
                "needs_processed_json", "per_turn_filtered is made from train/validate/test_data.json"
            )
        yield from _consultation(row, origin)
        return
    lines = row["Dialogue"] if isinstance(row, dict) else row
    meta = _turns.rest(row, "Dialogue") if isinstance(row, dict) else {}
    if options.variant == "per_turn_filtered":
        yield from _per_turn(lines, origin, meta)
    else:
        turns = [Message(SPEAKERS[_speaker(line)], line.removeprefix(_speaker(line))) for line in lines]
        yield from _clean(turns, origin, meta)


def _per_turn(lines: list[str], origin: Origin, meta: dict[str, Any]) -> Iterator[Conversation | Repair]:
    """The published rule, whose patient and doctor simply take turns and whose odd last line is left out."""
    turns = [line.removeprefix(_speaker(line)) for line in lines]
    history: list[Message] = []
    answers = 0
    for asked, answered in zip(turns[::2], turns[1::2], strict=False):
        for sentence in HAODF:
            answered = answered.replace(sentence, "")
        question = Message("user", asked)
        if len(answered) >= MIN_ANSWER_CHARACTERS:
            answers += 1
            yield Conversation((*history, question, Message("assistant", answered)), origin, meta)
        else:
            yield Repair("short_answer_only_in_history")
        history += [question, Message("assistant", answered, train=False)]
    if not answers:
        raise Reject("no_answer", f"no doctor's turn of {MIN_ANSWER_CHARACTERS} characters")


def _clean(turns: list[Message], origin: Origin, meta: dict[str, Any]) -> Iterator[Conversation | Repair]:
    kept = []
    for turn in turns:
        content = turn.content
        for sentence in HAODF:
            content = content.replace(sentence, "")
        if content.strip():
            kept.append(Message(turn.role, content.strip()))
        else:
            yield Repair("empty_turn_dropped")
    if not any(turn.role == "assistant" for turn in kept):
        raise Reject("no_answer", "no doctor's message with text")
    yield from _turns.conversation(kept, TURNS, origin=origin, meta=meta)


def _consultation(record: str, origin: Origin) -> Iterator[Conversation | Repair]:
    """One ``id=`` record of the raw text; sections may repeat and stand in any order."""
    turns: list[Message] = []
    meta: dict[str, Any] = {}
    for section, lines in _sections(record):
        if section == "Description":
            turns.append(Message("user", "\n".join(lines)))
        elif section == "Dialogue":
            spoken, unspoken = _dialogue(lines)
            turns += spoken
            for _ in range(unspoken):
                yield Repair("line_without_speaker_dropped")
        else:
            meta["diagnosis"] = "\n".join(filter(None, (meta.get("diagnosis"), *lines)))
            turns.append(Message("assistant", _advice(lines)))
    yield from _clean(turns, origin, meta)


def _sections(record: str) -> Iterator[tuple[str, list[str]]]:
    """Each section's name and its lines with text, stripped; what stands before the first one is the address."""
    name, lines = "", []
    for line in (line.strip() for line in record.splitlines()):
        if line in SECTIONS:
            if name:
                yield name, lines
            name, lines = line, []
        elif line:
            lines.append(line)
    if name:
        yield name, lines


def _dialogue(lines: list[str]) -> tuple[list[Message], int]:
    """The messages of a section, all lines each, and how many lines nobody spoke (cards of the site)."""
    turns: list[Message] = []
    unspoken = 0
    for line in lines:
        if speaker := _speaker(line):
            turns.append(Message(SPEAKERS[speaker], line.removeprefix(speaker)))
        elif turns:
            turns[-1] = Message(turns[-1].role, f"{turns[-1].content}\n{line}")
        else:
            unspoken += 1
    return turns, unspoken


def _advice(lines: list[str]) -> str:
    """The advice fields of a diagnosis section; a field runs until the next line that names one."""
    kept, name = [], ""
    for line in lines:
        if field := FIELD.match(line):
            name, line = field.groups()
        if name in ADVICE:
            kept.append(line)
    return "\n".join(kept)


def _speaker(line: str) -> str:
    return next((speaker for speaker in SPEAKERS if line.startswith(speaker)), "")
