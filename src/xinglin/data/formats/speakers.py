"""Dialogues as a list of lines that begin with their speaker (HuatuoGPT).

    {"data": ["问：我最近经常头痛。", "答：多久了？", "问：一周。", "答：建议测血压。"]}

Also a bare list, and the list as JSON in ``json_dialogue``. The speaker is taken off the front of a line and nowhere
else. A last question without an answer is dropped and neighbouring lines of one speaker are joined, both counted.
Lists of 病人： and 医生： alone are ``covid_dialogue``.
"""

import json
from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Repair, Row, _speech, _turns
from xinglin.data.records import Conversation, Message, Origin

RECORD = "conversation"
UNIT = "row"
KEYS = ("data", "json_dialogue", "dialogue", "conversation", "conversations")
OTHERS = ("病人：", "医生：", "Patient:", "Doctor:")
TURNS = _turns.TurnOptions(unanswered="drop", repeated="merge")


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    if isinstance(row, dict) and ("chosen" in row or _turns.judged(row)):
        return False
    return bool(_lines(row))


def parse(
    row: dict[str, Any] | list[str], options: Options, origin: Origin
) -> Iterator[Conversation | Repair]:
    turns = []
    for line in _lines(row):
        role, said = _speech.speaker(line) or ("user", line)
        turns.append(Message(role, said.strip()))
    meta = _turns.rest(row, *KEYS) if isinstance(row, dict) else {}
    yield from _turns.conversation(turns, TURNS, origin=origin, meta=meta)


def _lines(row: Row) -> list[str]:
    """The lines, if each has a speaker and they are not ``covid_dialogue``'s."""
    found = next((row[key] for key in KEYS if key in row), None) if isinstance(row, dict) else row
    if isinstance(found, str) and found.startswith("[") and isinstance(row, dict):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return []
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        return []
    if not all(map(_speech.speaker, found)) or all(line.startswith(OTHERS) for line in found):
        return []
    return found
