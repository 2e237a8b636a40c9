"""Conversations as OpenAI messages: a list of role and content.

    {"messages": [{"role": "system", "content": "你是一名医生。"},
                  {"role": "user", "content": "感冒了怎么办？"},
                  {"role": "assistant", "content": "多休息，多喝水。", "train": true}]}

The list may also be called ``conversations`` or ``conversation`` (DISC-Med-SFT), or be two: a ``prompt``, whose answers
are not trained, and a ``completion`` (TRL). A ``system`` key may stand beside it. ``train: false`` (or OpenAI's
``weight: 0``) keeps a message out of the loss; any other ``weight`` says how much each of its tokens counts. Reasoning
may stand in ``content`` as ``<think>…</think>`` or in a field of its own (``reasoning_content``, ``reasoning``,
``thinking``). Tools are described and called as OpenAI's are:

    {"tools": [{"type": "function", "function": {"name": "lookup", "parameters": {…}}}],
     "messages": [{"role": "user", "content": "布洛芬多少钱？"},
                  {"role": "assistant", "tool_calls": [{"function": {"name": "lookup", "arguments": "{…}"}}]},
                  {"role": "tool", "content": "{\"price\": 12}"},
                  {"role": "assistant", "content": "12 元。"}]}
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Repair, Row, _tools, _turns
from xinglin.data.records import Conversation, Origin

RECORD = "conversation"
UNIT = "row"
KEYS = ("messages", "conversations", "conversation")
Options = _turns.TurnOptions


def matches(row: Row) -> bool:
    """A row with ``chosen`` is a preference; one with a true-or-false ``label`` (KTO) may be a bad example."""
    if not isinstance(row, dict) or "chosen" in row or _turns.judged(row):
        return False
    listed = [row[key] for key in KEYS if key in row]
    named = any(_turns.speaks(rows, "role") and not _turns.speaks(rows, "from") for rows in listed)
    return row.get("messages") == [] or named or _halves(row)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    if _halves(row):
        prompt = [
            {**message, "train": False} if isinstance(message, dict) else message for message in row["prompt"]
        ]
        row = {**row, "messages": prompt + row["completion"], "prompt": None, "completion": None}
    key = next(key for key in KEYS if key in row)
    turns = _turns.messages(row[key], system=row.get("system"), tools=True)
    meta = _turns.rest(row, key, "system", *_tools.KEYS)
    tools = _tools.described(row)
    return _turns.conversation(turns, options, origin=origin, meta=meta, tools=tools)


def _halves(row: dict[str, Any]) -> bool:
    return all(_turns.speaks(row.get(key), "role") for key in ("prompt", "completion"))
