"""Tools in conversations: what can be called, calls, and their results, in OpenAI's form and in ShareGPT's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from xinglin.data import containers
from xinglin.data.formats import Reject
from xinglin.data.records import Message, ToolCall

CALLING = ("function_call", "tool_call")
"""Roles of messages that are a call, or a list of calls, as JSON."""
ANSWERING = ("tool", "function", "observation", "tool_response")
"""Roles of messages that are the result of a call."""
KEYS = ("tools", "functions")
"""Where a row describes its tools; ``functions`` is OpenAI's older name."""


def described(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row, as a list or as JSON, each bare or as OpenAI's ``function``. Raises: Reject."""
    listed = _decoded(row.get("tools") or row.get("functions"), "bad_tools", "tools") or []
    if not isinstance(listed, list):
        raise Reject("bad_tools", f"tools is {type(listed).__name__}, not a list")
    return tuple(_described(tool, number) for number, tool in enumerate(listed, start=1))


def _described(tool: Any, number: int) -> Mapping[str, Any]:
    tool = _decoded(tool, "bad_tools", f"tool {number}")
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Reject("bad_tools", f"tool {number} is no description of a function with a name")
    return {"type": "function", "function": dict(function)}


def calls(value: Any, place: str) -> tuple[ToolCall, ...]:
    """One call or several, as objects or as JSON. Raises: Reject."""
    listed = _decoded(value, "bad_tool_call", place)
    return tuple(_call(call, place) for call in _listed(listed))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _call(call: Any, place: str) -> ToolCall:
    call = _decoded(call, "bad_tool_call", place)
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Reject("bad_tool_call", f"{place} calls nothing by name: {str(call)[:80]}")
    arguments = _decoded(function.get("arguments") or {}, "bad_tool_call", place)
    if not isinstance(arguments, Mapping | None):
        raise Reject("bad_tool_call", f"{place}: the arguments are {type(arguments).__name__}, not an object")
    return ToolCall(function["name"], dict(arguments or {}))


def result(value: Any, place: str) -> str:
    """What a tool answered: text, or JSON written out."""
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "".join(part["text"] for part in value)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def name(row: Mapping[str, Any], place: str) -> str | None:
    """Whose result a message is, if it says so. Raises: Reject."""
    named = row.get("name")
    if named is not None and not isinstance(named, str):
        raise Reject("bad_tool_call", f"{place}: its name is {type(named).__name__}, not text")
    return named


def arranged(rows: Sequence[Mapping[str, Any]], turns: Sequence[Message]) -> list[Message]:
    """The messages made of ``rows`` as templates read them, which know no ids of calls: calls in a row, and words
    before a call, are one message; results are named by the calls they answer, and stand in their order."""
    made: list[Message] = []
    names: dict[str, str] = {}
    for is_result, group in groupby(zip(rows, turns, strict=True), key=lambda pair: pair[1].role == "tool"):
        if is_result:
            made += _ordered(list(group), names)
            continue
        for row, turn in group:
            for id, name in _ids(row) if turn.tool_calls else ():
                names.pop(id, None)  # A later call with an id of before is the one that is meant.
                names[id] = name
            if made and turn.tool_calls and not turn.content.strip() and _speaks_on(made[-1], turn):
                before = made.pop()
                turn = replace(before, tool_calls=before.tool_calls + turn.tool_calls)
            made.append(turn)
    return made


def _speaks_on(before: Message, turn: Message) -> bool:
    return (before.role, before.train) == ("assistant", turn.train)


def _ids(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The calls of a message that have one, each with what it calls."""
    for call in _listed(_decoded(row.get("tool_calls"), "bad_tool_call", "tool_calls")):
        call = _decoded(call, "bad_tool_call", "tool_calls")
        if isinstance(call, Mapping) and call.get("id"):
            yield str(call["id"]), _call(call, "tool_calls").name


def _ordered(results: list[tuple[Mapping[str, Any], Message]], names: Mapping[str, str]) -> list[Message]:
    """Results in the order of their calls, if all say which these are."""
    ids = [str(row.get("tool_call_id")) for row, _ in results]
    turns = [
        replace(turn, name=turn.name or names.get(id)) for id, (_, turn) in zip(ids, results, strict=True)
    ]
    if not set(ids) <= names.keys():
        return turns
    order = list(names)
    return [turns[at] for at in sorted(range(len(ids)), key=lambda at: order.index(ids[at]))]


def _is_text_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _decoded(value: Any, reason: str, place: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise Reject(reason, f"{place} holds no JSON: {error}") from error
    if fault := containers.fault(found):
        raise Reject(*fault)
    return found
