"""The four frozen records that flow through the data layer, and their JSON Lines form.

The JSON forms are the ones other tools read (TRL, LLaMA-Factory, datasets):

    Document      {"text": …}
    Conversation  {"messages": [{"role", "content", "train"?}]}
    Preference    {"prompt": [messages], "chosen": [message], "rejected": [message]}
    Question      {"question", "options": {"A": …}, "answer": "A"}

Every row also carries ``meta`` (free: department, tags, …) and ``origin`` (where it came from).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["document", "conversation", "preference", "question"]


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
class Message:
    role: Role
    content: str
    train: bool = True
    """Whether the loss counts this message; only assistant messages are ever trained on."""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"role": self.role, "content": self.content}
        return row if self.train else {**row, "train": False}


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, **_tail(self)}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Alternating messages, an optional system message first, at least one trained assistant message."""

    messages: tuple[Message, ...]
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"messages": [message.to_json() for message in self.messages], **_tail(self)}


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt that ends on a user message, and a better and a worse answer to it."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": [message.to_json() for message in self.prompt],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
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
        return Conversation(_messages(row["messages"]), origin, meta)
    if "chosen" in row:
        return Preference(
            _messages(row["prompt"]), row["chosen"][0]["content"], row["rejected"][0]["content"], origin, meta
        )
    return Question(row["question"], row["options"], row["answer"], origin, meta)


def _messages(rows: list[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(row["role"], row["content"], row.get("train", True)) for row in rows)


def _tail(record: Record) -> dict[str, Any]:
    origin = {"file": record.origin.file, "row": record.origin.row}
    if record.origin.licence:
        origin["licence"] = record.origin.licence
    return {"meta": dict(record.meta), "origin": origin} if record.meta else {"origin": origin}


def texts(record: Record) -> tuple[str, ...]:
    """Every text that a record holds, in order."""
    if isinstance(record, Document):
        return (record.text,)
    if isinstance(record, Conversation):
        return tuple(message.content for message in record.messages)
    if isinstance(record, Preference):
        return (*(message.content for message in record.prompt), record.chosen, record.rejected)
    return (record.question, *record.options.values())
