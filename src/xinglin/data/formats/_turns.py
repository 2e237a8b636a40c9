"""What the formats of conversations share: the text of a message, the order of turns, the rest of a row."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, _tools
from xinglin.data.records import Conversation, Message, Origin, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
REASONING = ("reasoning_content", "reasoning", "thinking")
"""Keys under which a message may carry the reasoning in front of its answer."""


class TurnOptions(Config):
    unanswered: Literal["quarantine", "drop"] = "quarantine"
    """A conversation that ends on a user message: quarantine the row, or drop that message and count it."""
    repeated: Literal["quarantine", "merge"] = "quarantine"
    """Two messages of one speaker in a row: quarantine the row, or join them by a newline and count it."""


_NO_REPAIR = TurnOptions()


def message(row: Any, number: int, *, role_key: str, text_key: str) -> Message:
    """The ``number``-th message (from 1) of a conversation. Raises: Reject."""
    if not isinstance(row, Mapping):
        raise Reject("bad_roles", f"message {number} is not an object")
    place, role, content = f"message {number}", row.get(role_key), row.get(text_key)
    if role in _tools.CALLING:
        return Message("assistant", "", _weight(row, place), _tools.calls(content, place))
    if role in _tools.ANSWERING:
        return Message("tool", _tools.result(content, place), name=_tools.name(row, place))
    if not isinstance(role, str) or role not in ROLES:
        raise Reject("bad_roles", f"{place} has the role {role!r}; known: {', '.join(ROLES)}")
    said, weight = text(content, place), _weight(row, place)
    if ROLES[role] != "assistant":
        return Message(ROLES[role], said, weight)
    called = row.get("tool_calls") or row.get("function_call") or []
    return Message("assistant", _reasoned(row, said, place), weight, _tools.calls(called, place))


def _weight(row: Mapping[str, Any], place: str) -> bool | float:
    weight = row.get("train", row.get("weight", row.get("loss_weight", True)))
    if weight is True:
        return True
    if not isinstance(weight, int | float) or not 0 <= weight <= sys.float_info.max:
        raise Reject("bad_train_flag", f"{place}: {weight!r} is not true, false or a number from 0")
    return bool(weight) if weight in (0, 1) else float(weight)


def _reasoned(row: Mapping[str, Any], content: str, place: str) -> str:
    """The content of an answer, behind its reasoning where the row keeps that in a field of its own."""
    thoughts = [text(row[key], f"{place} {key}") for key in REASONING if row.get(key)]
    thoughts = [thought for thought in dict.fromkeys(thoughts) if thought.strip()]
    if not thoughts:
        return content
    if len(thoughts) > 1 or content.startswith("<think>"):
        raise Reject("bad_reasoning", f"{place} has its reasoning in two places")
    return "<think>\n{}\n</think>\n\n{}".format(thoughts[0].strip("\n"), content)


def messages(rows: Any, *, system: Any = None, tools: bool = False) -> list[Message]:
    """Messages in ShareGPT (from, value) or OpenAI (role, content) form.

    ``tools``: whether they may call tools. Raises: Reject.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise Reject("bad_roles", "the messages are not a list")
    keys = {"role_key": "from", "text_key": "value"} if speaks(rows, "from") else {}
    keys = keys or {"role_key": "role", "text_key": "content"}
    turns = [message(row, number, **keys) for number, row in enumerate(rows, start=1)]
    for number, turn in enumerate(turns, start=1):
        if not tools and (turn.tool_calls or turn.role == "tool"):
            raise Reject("tool_use", f"message {number} calls a tool, or is the result of a call")
    if any(turn.tool_calls for turn in turns):
        turns = _tools.arranged(rows, turns)
    return system_first(text(system, "system"), turns)


def system_first(system: str, turns: list[Message]) -> list[Message]:
    return [Message("system", system), *turns] if system.strip() else turns


def speaks(rows: Any, key: str) -> bool:
    """Whether ``rows`` is a list of messages whose speaker stands under ``key``."""
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping) and key in rows[0]


def text(value: Any, place: str) -> str:
    """A string, None (empty), a list of one of them, or a list of text parts as of OpenAI. Raises: Reject."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], Mapping):
        value = value[0]
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in value
    ):
        return "".join(text(part.get("text", part.get("value")), place) for part in value)
    raise Reject("not_text", f"{place} is {type(value).__name__}, not text")


def history(pairs: Any, *, train: bool) -> list[Message]:
    """Earlier turns as a list of (question, answer), or as JSON of one, as tables hold it. Raises: Reject."""
    if isinstance(pairs, str):
        try:
            pairs = json.loads(pairs) if pairs.strip() else []
        except (ValueError, RecursionError) as error:
            raise Reject("bad_history", f"text that is no JSON: {pairs[:80]}") from error
    if not isinstance(pairs or [], list):
        raise Reject("bad_history", f"{type(pairs).__name__} instead of a list of [question, answer]")
    turns = []
    for number, pair in enumerate(pairs or [], start=1):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise Reject("bad_history", f"turn {number} is not [question, answer]")
        turns.append(Message("user", text(pair[0], f"history {number}")))
        turns.append(Message("assistant", text(pair[1], f"history {number}"), train))
    return turns


def rest(row: Mapping[str, Any], *read: str) -> dict[str, Any]:
    """``meta`` of a row, and every key that the format did not read, so that nothing of a row is lost."""
    own = row.get("meta")
    left = {key: value for key, value in row.items() if key not in read and value is not None}
    if isinstance(own, Mapping):
        del left["meta"]
        return {**left, **own}
    return left


def judged(row: Mapping[str, Any]) -> bool:
    """Whether a row says if its answer is good (KTO), as true or false or as their names; it may be a bad one."""
    for key in ("label", "kto_tag"):
        value = row.get(key)
        if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false")):
            return True
    return False


def no_tools(row: Mapping[str, Any]) -> None:
    """Raises: Reject, for a row whose answers depend on tools that no record can carry."""
    if row.get("tools") not in (None, "", "[]", []):
        raise Reject("tool_use", "the row describes tools")


def conversation(
    turns: list[Message],
    options: TurnOptions = _NO_REPAIR,
    *,
    origin: Origin,
    meta: Mapping[str, Any],
    tools: tuple[Mapping[str, Any], ...] = (),
) -> Iterator[Conversation | Repair]:
    """One conversation whose turns are in order, and the repairs that ``options`` allow. Raises: Reject."""
    if not turns:
        raise Reject("empty", "no message")
    if turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
        yield Repair("empty_system_dropped")
    if options.repeated == "merge" and any(_same_speaker(a, b) for a, b in pairwise(turns)):
        turns = merged(turns)
        yield Repair("repeated_speaker_merged")
    if options.unanswered == "drop" and len(turns) > 1 and turns[-1].role == "user":
        turns = turns[:-1]
        yield Repair("unanswered_dropped")
    check_order(turns)
    if turns[-1].role != "assistant":
        raise Reject("no_answer", f"ends on a {turns[-1].role} message")
    if not any(turn.train for turn in turns if turn.role == "assistant"):
        raise Reject("nothing_to_train", "no assistant message is marked for training")
    yield Conversation(tuple(turns), origin, meta, tools)


NEXT: dict[str, tuple[Role, ...]] = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "call": ("tool",),
    "tool": ("tool", "assistant"),
}
"""Who may speak after whom; a call is an answer that calls tools."""


def check_order(turns: Sequence[Message]) -> None:
    """System first if at all, then user and assistant in turn; a call is followed by results and an answer.

    Only an untrained answer may be empty. Raises: Reject.
    """
    talk = turns[1:] if turns and turns[0].role == "system" else turns
    if not any(turn.role == "user" for turn in talk):
        raise Reject("bad_roles", "no user message")
    before = ""
    for number, turn in enumerate(talk, start=1 + len(turns) - len(talk)):
        if turn.role not in NEXT[before]:
            raise Reject(
                "bad_roles", f"message {number} is of {turn.role}, expected {' or '.join(NEXT[before])}"
            )
        before = "call" if turn.tool_calls else turn.role
        said = turn.content.strip() or turn.tool_calls
        if not said and (turn.role == "user" or (turn.role == "assistant" and turn.train)):
            raise Reject("empty_message", f"message {number} ({turn.role}) is empty")


def merged(turns: Sequence[Message]) -> list[Message]:
    """Neighbours of one speaker (and one train flag) joined by a newline."""
    joined: list[Message] = []
    for turn in turns:
        if joined and _same_speaker(joined[-1], turn):
            turn = Message(turn.role, f"{joined.pop().content}\n{turn.content}", turn.train)
        joined.append(turn)
    return joined


def _same_speaker(first: Message, second: Message) -> bool:
    if first.role == "tool" or first.tool_calls or second.tool_calls:
        return False
    return (first.role, first.train) == (second.role, second.train)
