"""Rows of any shape, by the names of their columns, which the options give.

    {"提问": "头痛三天了", "科室": "神经内科", "回复": "先测血压。"}

    format: mapped
    options: {user: 提问, assistant: 回复, meta: [科室]}

What the options name decides what is made of a row:

    text                            documents
    user, assistant                 conversations of one turn, with ``system`` and ``history``
    messages, role, content         conversations; ``roles`` says who speaks: {患者: user, 医生: assistant}
    user, chosen, rejected          preferences
    question, choices, answer       exam questions; ``choices`` is one column, or one per option

A name may be a list of columns, whose texts are joined line by line, and may lead inside: ``visit.notes``.
"""

from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _choices, _single, _turns
from xinglin.data.records import Document, Kind, Message, Origin, Preference, Question, Record

RECORD = None
UNIT = "row"
Column = Annotated[str, Field(min_length=1)]
Columns = Column | Annotated[list[Column], Field(min_length=1)]
KINDS: dict[Kind, tuple[str, ...]] = {
    "preference": ("user", "chosen", "rejected"),
    "question": ("question", "choices", "answer"),
    "conversation": ("user", "assistant"),
    "document": ("text",),
}


class Options(Config):
    text: Columns | None = None
    """Of a document."""
    user: Columns | None = None
    """The user's message."""
    assistant: Columns | None = None
    """The answer to it."""
    system: Columns | None = None
    """The system message."""
    history: Column | None = None
    """Earlier turns, as a list of [question, answer]."""
    messages: Column | None = None
    """A list of messages, instead of ``user`` and ``assistant``."""
    role: Column = "role"
    """In a message, who speaks."""
    content: Column = "content"
    """In a message, what is said."""
    roles: dict[str, Literal["system", "user", "assistant"]] = Field(default_factory=dict)
    """What the data call the speakers. Those of OpenAI and ShareGPT are known."""
    chosen: Columns | None = None
    """The better answer to ``user``."""
    rejected: Columns | None = None
    """The worse one."""
    question: Columns | None = None
    """Of an exam question."""
    choices: Columns | None = None
    """Its options: one column with an object, a list or lines that begin with letters, or one column per option."""
    answer: Column | None = None
    """The right letters, the text of the right option, or its number."""
    first_option: Literal[0, 1] | None = None
    """The number of the first option, for answers that are numbers."""
    meta: list[Column] | None = None
    """Columns that travel with the record. None: all that are not read."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.messages and not (self.user or self.assistant or self.text or self.question):
            return self
        given = {name for names in KINDS.values() for name in names if getattr(self, name) is not None}
        if self.messages or not any(given == set(names) for names in KINDS.values()):
            shapes = "; ".join(", ".join(names) for names in KINDS.values())
            raise ValueError(f"name the columns of one kind of record: {shapes}; or messages")
        return self


def record(options: Options) -> Kind:
    if options.messages:
        return "conversation"
    given = {name for names in KINDS.values() for name in names if getattr(options, name) is not None}
    return next(kind for kind, names in KINDS.items() if given == set(names))


def matches(row: Row) -> bool:
    return isinstance(row, dict)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Record | Repair]:
    makers = {
        "document": _document,
        "conversation": _messages if options.messages else _conversation,
        "preference": _preference,
        "question": _question,
    }
    yield from makers[record(options)](row, options, origin)


def _document(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Record]:
    text = _text(row, options.text)
    if not text.strip():
        raise Reject("empty", "no text")
    yield Document(text, origin, _meta(row, options))


def _conversation(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Any]:
    turns = [*_before(row, options), Message("user", _text(row, options.user))]
    turns.append(
        Message("assistant", _single.answered(_text(row, options.assistant), str(options.assistant)))
    )
    yield from _turns.conversation(turns, origin=origin, meta=_meta(row, options))


def _messages(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Any]:
    said = _value(row, options.messages or "")
    if not isinstance(said, list):
        raise Reject("bad_roles", f"{options.messages} is {type(said).__name__}, not a list of messages")
    turns = []
    for number, message in enumerate(said, start=1):
        if not isinstance(message, Mapping):
            raise Reject("bad_roles", f"message {number} is not an object")
        role = message.get(options.role)
        named = {**message, options.role: options.roles.get(role, role) if isinstance(role, str) else role}
        turns.append(_turns.message(named, number, role_key=options.role, text_key=options.content))
    turns = _turns.system_first(_text(row, options.system), turns)
    yield from _turns.conversation(turns, origin=origin, meta=_meta(row, options))


def _preference(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Record]:
    prompt = [*_before(row, options), Message("user", _text(row, options.user))]
    _turns.check_order(prompt)
    chosen, rejected = (
        _single.answered(_text(row, names), str(names)) for names in (options.chosen, options.rejected)
    )
    if chosen.strip() == rejected.strip():
        raise Reject("chosen_equals_rejected", chosen[:80])
    yield Preference(tuple(prompt), chosen, rejected, origin, _meta(row, options))


def _question(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Record]:
    asked = _text(row, options.question)
    if not asked.strip():
        raise Reject("empty", "no question")
    if isinstance(options.choices, list):
        texts = [_text(row, name) for name in options.choices]
        listed: Any = dict(zip(ascii_uppercase, texts, strict=False))
    else:
        listed = _value(row, options.choices or "")
        listed = _choices.lettered(listed) if isinstance(listed, str) else listed
    if not isinstance(listed, Mapping | list):
        raise Reject("bad_options", f"{options.choices} holds no options")
    choices = _choices.checked(listed)
    answer = _choices.answer(
        _value(row, options.answer or ""),
        choices,
        by_name=isinstance(listed, Mapping),
        first=options.first_option,
    )
    yield Question(asked, choices, answer, origin, _meta(row, options))


def _before(row: dict[str, Any], options: Options) -> list[Message]:
    earlier = _value(row, options.history) if options.history else None
    return _turns.system_first(_text(row, options.system), _turns.history(earlier, train=False))


def _text(row: dict[str, Any], names: Columns | None) -> str:
    names = [names] if isinstance(names, str) else names or []
    texts = (_value(row, name) for name in names)
    texts = (str(text) if isinstance(text, int | float) else text for text in texts)
    return "\n".join(
        part for text, name in zip(texts, names, strict=True) if (part := _turns.text(text, name)).strip()
    )


def _value(row: dict[str, Any], name: str) -> Any:
    """The column of that name, or what a path of names leads to. Raises: Reject."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise Reject("missing_column", f"no column {name}; there are {', '.join(map(str, row))}")
        value = value[part]
    return value


def _meta(row: dict[str, Any], options: Options) -> dict[str, Any]:
    if options.meta is not None:
        return {name: _value(row, name) for name in options.meta}
    read = [
        getattr(options, name)
        for name in Options.model_fields
        if name not in ("roles", "meta", "first_option")
    ]
    names = [name for each in read if each for name in (each if isinstance(each, list) else [each])]
    return _turns.rest(row, *(name.split(".")[0] if name not in row else name for name in names))
