"""Replies that were paid for, on disk: one JSON line each, found again by the hash of what was asked.

A line is ``{"key", "model", "messages", "parameters", "sample", "reply": {"text", "finish"}, "usage", "date"}``. Lines
are only ever appended. One that a crash cut off is taken away when the file is opened again; the request behind it is
the only one that is made a second time.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from xinglin.data.records import Message
from xinglin.errors import RunError


@dataclass(frozen=True)
class Request:
    """What a model is asked."""

    model: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    """Everything else that decides the reply: temperature, longest reply, schema."""
    sample: int = 0
    """Which of several replies to the same."""

    @cached_property
    def key(self) -> str:
        """Equal for requests that ask the same."""
        text = json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in self.messages]
        return {
            "model": self.model,
            "messages": messages,
            "parameters": dict(self.parameters),
            "sample": self.sample,
        }


@dataclass(frozen=True)
class Reply:
    """What came back."""

    text: str
    finish: str
    """Why it ended: ``stop``, ``length``, ``content_filter``, …"""
    prompt_tokens: int
    completion_tokens: int
    date: str
    """Of the reply, ISO 8601, UTC; that of the first time where it comes from the ledger."""


@dataclass
class Ledger:
    """The replies in ``path``, of one process at a time; a context manager.

    Only keys and places are in memory.
    """

    path: Path
    damaged: int = 0
    """Lines that could not be read, and were left alone."""
    _places: dict[str, int] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        """Raises: RunError, another run has it, or it cannot be opened."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RunError(
                f"{self.path}: another run uses this ledger; wait for it, or name another one"
            ) from None
        except OSError as error:
            raise RunError(
                f"{self.path}: no ledger can be kept here ({error.strerror}); name another path"
            ) from error
        self._read()
        return self

    def __exit__(self, *exception: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request: Request) -> bool:
        return request.key in self._places

    def find(self, request: Request) -> Reply | None:
        """The reply to ``request``, if there is one."""
        place = self._places.get(request.key)
        if place is None:
            return None
        self._used.add(request.key)
        self._file.seek(place)
        return _reply(json.loads(self._file.readline()))

    def add(self, request: Request, reply: Reply) -> None:
        """Keep ``reply``; it is with the operating system when this returns."""
        usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
        said = {"text": reply.text, "finish": reply.finish}
        row = {"key": request.key, **request.to_json(), "reply": said, "usage": usage, "date": reply.date}
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        self._places[request.key] = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._used.add(request.key)

    def write_used(self, path: Path) -> None:
        """Copy the lines that were asked for, or added, since it was opened, in their order."""
        with path.open("wb") as copy:
            for place in sorted(self._places[key] for key in self._used):
                self._file.seek(place)
                copy.write(self._file.readline())

    def _read(self) -> None:
        self._file.seek(0)
        whole = place = 0
        for line in self._file:
            if line.endswith(b"\n"):
                whole = place + len(line)
                if key := _key(line):
                    self._places.setdefault(key, place)
                else:
                    self.damaged += 1
            place += len(line)
        self._file.truncate(whole)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(line: bytes) -> str | None:
    try:
        row = json.loads(line)
        _reply(row)
        return str(row["key"])
    except (ValueError, KeyError, TypeError):
        return None


def _reply(row: Mapping[str, Any]) -> Reply:
    usage = row["usage"]
    return Reply(
        row["reply"]["text"],
        row["reply"]["finish"],
        usage["prompt_tokens"],
        usage["completion_tokens"],
        row["date"],
    )
