"""A conversation taken apart: its shape, and the texts that fill it.

The texts ("pieces") of a message are its reasoning, its content, and for every call the name of the function and
each string among the arguments. What is left is the shape, which few conversations of a data set differ in.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

from xinglin.data.records import Message, Role

_REASONED = re.compile(r"<think>(.*?)</think>(.*)", re.DOTALL)

Pieces = Sequence[Sequence[str]]
"""The texts of every message."""


class Form(NamedTuple):
    """A message without its texts."""

    role: Role
    reasoned: bool = False
    """It begins with reasoning."""
    spoken: bool = True
    """It has a content, besides reasoning."""
    calls: tuple[str, ...] = ()
    """The arguments of each call as JSON, with empty strings."""
    name: str | None = None

    def instead(self) -> "Form":
        """A plain text in the place of an answer that calls tools."""
        return Form(self.role, self.reasoned)


_PLAIN: dict[Role, Form] = {role: Form(role) for role in get_args(Role)}
"""The form of nearly every message: a content and nothing else."""


class Shape(NamedTuple):
    """A conversation without its texts."""

    forms: tuple[Form, ...]
    tools: str = ""
    """The tools as JSON; '' for none."""

    def before(self, message: int) -> "Shape":
        return self._replace(forms=self.forms[:message])

    def with_text_at(self, message: int) -> "Shape":
        """The shape with a plain text in the place of ``message``."""
        plain = self.forms[message].instead()
        return self._replace(forms=(*self.forms[:message], plain, *self.forms[message + 1 :]))


def shape_of(messages: Sequence[Message], tools: Sequence[Any] = ()) -> Shape:
    """What is left of a conversation without its texts."""
    return Shape(tuple(map(_form, messages)), json.dumps(list(tools), ensure_ascii=False) if tools else "")


def pieces_of(message: Message) -> tuple[str, ...]:
    """The texts of a message, in the order of its slots."""
    if _is_plain(message):
        return (message.content,)
    said = tuple(filter(None, _reasoning_and_answer(message)))
    called = (text for call in message.tool_calls for text in (call.name, *_strings(call.arguments)))
    return (*said, *called) if message.tool_calls else said


def without_reasoning(content: str) -> str:
    """An answer's content without the reasoning in front of it."""
    reasoned = _REASONED.fullmatch(content)
    return reasoned.group(2).lstrip("\n") if reasoned else content


def num_pieces(form: Form) -> int:
    """How many texts a message of this form has."""
    return form.reasoned + form.spoken + sum(1 + len(list(_strings(json.loads(call)))) for call in form.calls)


def rows_of(shape: Shape, pieces: Pieces) -> list[dict[str, Any]]:
    """The messages as a chat template takes them."""
    return [
        {"role": form.role, "content": texts[0]} if form is _PLAIN[form.role] else _row(form, iter(texts))
        for form, texts in zip(shape.forms, pieces, strict=True)
    ]


def _row(form: Form, texts: Iterator[str]) -> dict[str, Any]:
    reasoning = f"<think>{next(texts)}</think>" if form.reasoned else ""
    row: dict[str, Any] = {"role": form.role, "content": reasoning + (next(texts) if form.spoken else "")}
    if form.name is not None:
        row["name"] = form.name
    if form.calls:
        calls = [{"name": next(texts), "arguments": _filled(json.loads(call), texts)} for call in form.calls]
        row["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    return row


def _is_plain(message: Message) -> bool:
    return bool(message.content) and not (
        message.tool_calls or message.name is not None or message.content.startswith("<think>")
    )


def _form(message: Message) -> Form:
    if _is_plain(message):
        return _PLAIN[message.role]
    reasoning, answer = _reasoning_and_answer(message)
    calls = (json.dumps(_filled(call.arguments, None), ensure_ascii=False) for call in message.tool_calls)
    return Form(message.role, bool(reasoning), bool(answer), tuple(calls), message.name)


def _reasoning_and_answer(message: Message) -> tuple[str, str]:
    """What a message says, split. A blank block is no reasoning, and line ends alone behind one are no answer."""
    if message.role == "assistant" and (reasoned := _REASONED.fullmatch(message.content)):
        reasoning, answer = reasoned.groups()
        if not reasoning.strip():
            return "", answer.lstrip("\n")
        return reasoning, answer if answer.strip("\n") else ""
    return "", message.content


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, in order; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _filled(value: Any, texts: Iterator[str] | None) -> Any:
    """A JSON value whose strings are taken from ``texts``, or are empty."""
    if isinstance(value, str):
        return next(texts) if texts is not None else ""
    if isinstance(value, dict):
        return {key: _filled(part, texts) for key, part in value.items()}
    return [_filled(part, texts) for part in value] if isinstance(value, list) else value
