"""The frozen records that flow through the data layer, and their JSON Lines form.

The JSON forms are the ones other tools read (TRL, LLaMA-Factory, datasets):

    Document      {"text": …}
    Conversation  {"messages": [{"role", "content", "tool_calls"?, "train"? or "weight"?}], "tools"?}
    Preference    {"prompt": [messages], "chosen": [message], "rejected": [message], "tools"?}
    Rating        {"messages": [messages], "label": true, "tools"?}
    Question      {"question", "options": {"A": …}, "answer": "A"}

Calls and descriptions of tools have the form that OpenAI gave them and chat templates expect. Reasoning stands in
front of an answer as ``<think>…</think>``. Every row also carries ``meta`` (free: department, tags, …) and
``origin`` (where it came from).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["document", "conversation", "preference", "rating", "question"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from; enough to find the row again."""

    file: str
    row: int
    """1-based line, array element or block number within ``file``."""
    licence: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.row}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that an assistant message calls."""

    name: str
    arguments: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name, "arguments": dict(self.arguments)}}


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    train: bool | float = True
    """Whether the loss counts this message, or how much; only assistant messages are ever trained on."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant message calls, after its content if it has one."""
    name: str | None = None
    """Which function a tool message is the result of, where the data say so."""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            row["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.name is not None:
            row["name"] = self.name
        if self.train is not True:
            row |= {"weight": self.train} if self.train else {"train": False}
        return row


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, **_tail(self)}


@dataclass(frozen=True, slots=True)
class Conversation:
    """An optional system message, then questions, each with its answers: at least one of them trained.

    An answer that calls tools is followed by their results and a further answer.
    """

    messages: tuple[Message, ...]
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    """What the assistant may call: ``{"type": "function", "function": {"name", "description", "parameters"}}``."""

    def to_json(self) -> dict[str, Any]:
        messages = [message.to_json() for message in self.messages]
        return {"messages": messages, **_tools(self.tools), **_tail(self)}


@dataclass(frozen=True, slots=True)
class Rating(Conversation):
    """A conversation whose last answer, the only trained one, is said to be good or bad."""

    good: bool = True

    def to_json(self) -> dict[str, Any]:
        return {**Conversation.to_json(self), "label": self.good}


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt that ends on a user message, or on results of tools, and a better and a worse answer to it."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    """As of a conversation."""
    chosen_calls: tuple[ToolCall, ...] = ()
    """What the chosen answer calls, after its text if it has one."""
    rejected_calls: tuple[ToolCall, ...] = ()

    @property
    def answers(self) -> tuple[Message, Message]:
        """The chosen and the rejected answer."""
        return (
            Message("assistant", self.chosen, tool_calls=self.chosen_calls),
            Message("assistant", self.rejected, tool_calls=self.rejected_calls),
        )

    def changed(self, prompt: tuple[Message, ...], chosen: Message, rejected: Message) -> "Preference":
        """The same with another prompt and other answers."""
        calls = {"chosen_calls": chosen.tool_calls, "rejected_calls": rejected.tool_calls}
        return replace(self, prompt=prompt, chosen=chosen.content, rejected=rejected.content, **calls)

    @property
    def uses_tools(self) -> bool:
        """Whether tools are described, called or have answered."""
        messages = (*self.prompt, *self.answers)
        return bool(self.tools) or any(message.tool_calls or message.role == "tool" for message in messages)

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": [message.to_json() for message in self.prompt],
            "chosen": [self.answers[0].to_json()],
            "rejected": [self.answers[1].to_json()],
            **_tools(self.tools),
            **_tail(self),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """An exam question. ``answer`` holds the right letters in order: ``"A"``, or ``"ACD"`` for several."""

    question: str
    options: Mapping[str, str]
    answer: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "options": dict(self.options),
            "answer": self.answer,
            **_tail(self),
        }


Record = Document | Conversation | Preference | Question
KINDS: dict[type, Kind] = {
    Document: "document",
    Conversation: "conversation",
    Preference: "preference",
    Rating: "rating",
    Question: "question",
}


def kind_of(record: Record) -> Kind:
    return KINDS[type(record)]


def from_json(row: Mapping[str, Any], origin: Origin) -> Record:
    """Read back what ``to_json`` wrote. ``origin`` is used for rows that carry none."""
    if "origin" in row:
        origin = Origin(row["origin"]["file"], row["origin"]["row"], row["origin"].get("licence"))
    meta = row.get("meta", {})
    if "text" in row:
        return Document(row["text"], origin, meta)
    if "messages" in row:
        talk = (_messages(row["messages"]), origin, meta, tuple(row.get("tools", ())))
        return Rating(*talk, row["label"]) if "label" in row else Conversation(*talk)
    if "chosen" in row:
        chosen, rejected = (_messages(row[name])[0] for name in ("chosen", "rejected"))
        return Preference(
            _messages(row["prompt"]),
            chosen.content,
            rejected.content,
            origin,
            meta,
            tuple(row.get("tools", ())),
            chosen.tool_calls,
            rejected.tool_calls,
        )
    return Question(row["question"], row["options"], row["answer"], origin, meta)


def _messages(rows: list[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple([_message(row) for row in rows])


def _message(row: Mapping[str, Any]) -> Message:
    if len(row) == 2:  # as most are
        return Message(row["role"], row["content"])
    return Message(
        row["role"],
        row["content"],
        row.get("train", row.get("weight", True)),
        tuple(ToolCall(**call["function"]) for call in row.get("tool_calls", ())),
        row.get("name"),
    )


def _tools(tools: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {"tools": [dict(tool) for tool in tools]} if tools else {}


def _tail(record: Record) -> dict[str, Any]:
    origin = {"file": record.origin.file, "row": record.origin.row}
    if record.origin.licence:
        origin["licence"] = record.origin.licence
    return {"meta": dict(record.meta), "origin": origin} if record.meta else {"origin": origin}


def texts(record: Record) -> tuple[str, ...]:
    """Every text that a record holds, in order."""
    if isinstance(record, Document):
        return (record.text,)
    if isinstance(record, Conversation | Preference):
        talk = isinstance(record, Conversation)
        messages = record.messages if talk else (*record.prompt, *record.answers)
        tools = (json.dumps(tool, ensure_ascii=False) for tool in record.tools)
        return (*tools, *(text for message in messages for text in spoken(message)))
    return (record.question, *record.options.values())


def spoken(message: Message) -> tuple[str, ...]:
    """The text of a message, and what it calls as JSON."""
    calls = (json.dumps(call.to_json()["function"], ensure_ascii=False) for call in message.tool_calls)
    return (message.content, *calls)


def with_texts(record: Record, change: Callable[[str], str]) -> Record:
    """``record`` with every text that people wrote in it put through ``change``: contents, answers, options and the
    arguments of tool calls. Descriptions of tools, names and ``meta`` stay. Where nothing changes,
    ``record`` itself comes back."""
    if isinstance(record, Document):
        text = change(record.text)
        return record if text == record.text else replace(record, text=text)
    if isinstance(record, Conversation):
        messages = _changed(record.messages, change)
        return record if messages is record.messages else replace(record, messages=messages)
    if isinstance(record, Preference):
        prompt, answers = _changed(record.prompt, change), _changed(record.answers, change)
        if (prompt, *answers) == (record.prompt, *record.answers):
            return record
        return record.changed(prompt, *answers)
    options = {letter: change(text) for letter, text in record.options.items()}
    question = change(record.question)
    if (question, options) == (record.question, dict(record.options)):
        return record
    return replace(record, question=question, options=options)


def _changed(messages: tuple[Message, ...], change: Callable[[str], str]) -> tuple[Message, ...]:
    fresh = tuple(_changed_message(message, change) for message in messages)
    same = all(new is old for new, old in zip(fresh, messages, strict=True))
    return messages if same else fresh


def _changed_message(message: Message, change: Callable[[str], str]) -> Message:
    content = change(message.content)
    calls = tuple(
        ToolCall(call.name, _changed_value(dict(call.arguments), change)) for call in message.tool_calls
    )
    if content == message.content and calls == message.tool_calls:
        return message
    return replace(message, content=content, tool_calls=calls)


def _changed_value(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed_value(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_changed_value(part, change) for part in value]
    return value
