"""Tools in conversations: what can be called, calls, and their results, in OpenAI's form and in ShareGPT's."""

import json
from collections.abc import Mapping
from typing import Any

from xinglin.data.formats import Reject
from xinglin.data.records import ToolCall

CALLING = ("function_call", "tool_call")
"""Roles of messages that are a call, or a list of calls, as JSON."""
ANSWERING = ("tool", "function", "observation", "tool_response")
"""Roles of messages that are the result of a call."""


def described(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row, as a list or as JSON, each bare or as OpenAI's ``function``. Raises: Reject."""
    listed = _decoded(value, "bad_tools", "tools") or []
    if not isinstance(listed, list):
        raise Reject("bad_tools", f"tools is {type(listed).__name__}, not a list")
    return tuple(_described(tool, number) for number, tool in enumerate(listed, start=1))


def _described(tool: Any, number: int) -> Mapping[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Reject("bad_tools", f"tool {number} is no description of a function with a name")
    return {"type": "function", "function": dict(function)}


def calls(value: Any, place: str) -> tuple[ToolCall, ...]:
    """One call or several, as objects or as JSON. Raises: Reject."""
    listed = _decoded(value, "bad_tool_call", place)
    return tuple(_call(call, place) for call in (listed if isinstance(listed, list) else [listed]))


def _call(call: Any, place: str) -> ToolCall:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Reject("bad_tool_call", f"{place} calls nothing by name: {str(call)[:80]}")
    arguments = _decoded(function.get("arguments") or {}, "bad_tool_call", place)
    if not isinstance(arguments, Mapping):
        raise Reject("bad_tool_call", f"{place}: the arguments are {type(arguments).__name__}, not an object")
    return ToolCall(function["name"], dict(arguments))


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


def _is_text_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _decoded(value: Any, reason: str, place: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except json.JSONDecodeError as error:
        raise Reject(reason, f"{place} holds no JSON: {error}") from error
