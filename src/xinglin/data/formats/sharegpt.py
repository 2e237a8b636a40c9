"""Conversations as ShareGPT: a list of from and value.

    {"conversations": [{"from": "human", "value": "感冒了怎么办？"}, {"from": "gpt", "value": "多休息，多喝水。"}],
     "system": "你是一名医生。"}

The list may also be called ``conversation``; ``user``, ``assistant`` and a first ``system`` are known too.
A ``tools`` key (a list, or JSON) describes tools; a message of ``function_call`` calls one, as JSON with ``name`` and
``arguments``, and one of ``observation`` is the result.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Repair, Row, _tools, _turns
from xinglin.data.records import Conversation, Origin

RECORD = "conversation"
UNIT = "row"
KEYS = ("conversations", "conversation")
Options = _turns.TurnOptions


def matches(row: Row) -> bool:
    """A row with ``chosen`` is a preference; one with a true-or-false ``label`` (KTO) may be a bad example."""
    if not isinstance(row, dict) or "chosen" in row or _turns.judged(row):
        return False
    return any(row.get(key) == [] or _turns.speaks(row.get(key), "from") for key in KEYS)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    key = next(key for key in KEYS if key in row)
    turns = _turns.messages(row[key], system=row.get("system"), tools=True)
    meta = _turns.rest(row, key, "system", *_tools.KEYS)
    tools = _tools.described(row)
    return _turns.conversation(turns, options, origin=origin, meta=meta, tools=tools)
