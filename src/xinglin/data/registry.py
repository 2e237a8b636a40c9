"""LLaMA-Factory's ``dataset_info.json``: which columns of a file hold what, with the defaults that its README gives.

    {"covid_train": {"file_name": "train.json", "file_sha1": "3cf6…",
                     "columns": {"prompt": "instruction", "response": "output", "history": "history"}},
     "pairs": {"file_name": "pairs.json", "ranking": true, "formatting": "sharegpt",
               "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}}}

A row is renamed to what the formats know (``alpaca``, ``messages``, ``preference``, ``text``) and read as any other.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xinglin.data.formats import Reject
from xinglin.errors import DataError
from xinglin.plugins import nearest

NAME = "dataset_info.json"
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
"""Columns with a default name; all others are read only where the registry names them."""
KNOWN = (
    *COLUMNS,
    "history",
    "system",
    "tools",
    "images",
    "videos",
    "audios",
    "chosen",
    "rejected",
    "kto_tag",
)
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
OPENAI = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
ROLES = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
WHERE = ("file_name", *ELSEWHERE)
MEDIA = ("images", "videos", "audios")


@dataclass(frozen=True)
class Entry:
    """One data set of a registry."""

    name: str
    folder: Path
    given: Any
    """What the registry says of it, an object where there is no ``fault``."""

    @property
    def fault(self) -> str:
        """What is wrong with what the registry says, in a sentence, or ''."""
        mistake = _mistake(self.given)
        return f"{self.folder / NAME}: '{self.name}': {mistake}; repair it" if mistake else ""

    @property
    def names_file(self) -> bool:
        return isinstance(self.given, dict) and isinstance(self.given.get("file_name"), str)

    @property
    def path(self) -> Path:
        """Its file or folder. Raises: DataError, when it is not kept in files here."""
        if file := self.given.get("file_name"):
            return self.folder / file
        place = next(
            (f"{key}: {self.given[key]}" for key in ELSEWHERE if self.given.get(key)), "no file_name"
        )
        raise DataError(
            f"{self.folder / NAME}: '{self.name}' is not in a file ({place}); download it, or name `hub:org/name`"
        )

    @property
    def max_rows(self) -> int | None:
        return self.given.get("num_samples")

    def changed(self) -> bool:
        """Whether the file is another than the one that ``file_sha1`` was taken of."""
        wanted = self.given.get("file_sha1")
        if not wanted or not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha1").hexdigest() != wanted

    def renamed(self, row: Any) -> Any:
        """``row`` with the names that the formats know; columns that are not read join its ``meta``.

        Raises:
            Reject: a row with images, sound or films.
        """
        if not isinstance(row, Mapping):
            return row
        named = self._columns()
        media = next((key for key in MEDIA if row.get(named.get(key))), None)
        if media:
            raise Reject("has_media", f"the row has {media}")
        asked = named.get("prompt" if self.given.get("formatting", "alpaca") == "alpaca" else "messages")
        if asked and asked not in row:
            raise Reject("missing_column", f"no column {asked}; there are {', '.join(map(str, row))}")
        got = {key: row[column] for key, column in named.items() if row.get(column) is not None}
        rest = {key: value for key, value in row.items() if key not in named.values()}
        made = self._spoken(got) if self.given.get("formatting", "alpaca") != "alpaca" else self._asked(got)
        return {**made, "meta": rest} if rest else made

    def _columns(self) -> dict[str, str]:
        """Early registries leave columns out by naming them ''."""
        named = {**COLUMNS, **self.given.get("columns", {})}
        return {key: column for key, column in named.items() if column}

    def _asked(self, got: dict[str, Any]) -> dict[str, Any]:
        shared = {key: got[key] for key in ("system", "history", "tools") if key in got}
        asked = {"instruction": got.get("prompt", ""), "input": got.get("query", "")} | shared
        if self.given.get("ranking"):
            return asked | {key: got.get(key) for key in ("chosen", "rejected")}
        if "response" not in got and "kto_tag" not in got:
            return {"text": got.get("prompt")}
        label = {"label": got["kto_tag"]} if "kto_tag" in got else {}
        return asked | {"output": got.get("response")} | label

    def _spoken(self, got: dict[str, Any]) -> dict[str, Any]:
        openai = self.given.get("formatting") == "openai"
        tags = {**TAGS, **(OPENAI if openai else {}), **self.given.get("tags", {})}
        made = {key: got[key] for key in ("system", "tools") if key in got}
        made["messages"] = self._messages(got.get("messages"), tags)
        if self.given.get("ranking"):
            made |= {key: self._message(got.get(key), tags) for key in ("chosen", "rejected")}
        return made | ({"label": got["kto_tag"]} if "kto_tag" in got else {})

    def _messages(self, rows: Any, tags: Mapping[str, str]) -> Any:
        return [self._message(row, tags) for row in rows] if isinstance(rows, list) else rows

    def _message(self, row: Any, tags: Mapping[str, str]) -> Any:
        if not isinstance(row, Mapping):
            return row
        roles = {tags[tag]: role for tag, role in ROLES.items() if tags.get(tag)}
        speaker = row.get(tags["role_tag"])
        rest = {
            key: value for key, value in row.items() if key not in (tags["role_tag"], tags["content_tag"])
        }
        role = roles.get(speaker, speaker) if isinstance(speaker, str) else speaker
        return {"role": role, "content": row.get(tags["content_tag"]), **rest}


def load(path: Path) -> dict[str, Entry]:
    """The data sets of the registry at ``path``; those with mistakes have a ``fault``. Raises: DataError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(found, dict):
            raise ValueError("not an object of objects")
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: no registry of data sets: {error}; repair it") from error
    return {name: Entry(name, path.parent, given) for name, given in found.items()}


def is_one(path: Path) -> bool:
    """Whether the file is a registry; Hugging Face datasets keeps something else under the same name."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError):
        return True  # and ``load`` says what is wrong with it
    entries = (
        [entry for entry in found.values() if isinstance(entry, dict)] if isinstance(found, dict) else []
    )
    named = [entry for entry in entries if any(isinstance(entry.get(key), str) for key in WHERE)]
    return bool(named) or not isinstance(found, dict) or len(entries) == len(found)


def _mistake(given: Any) -> str:
    """What is wrong with the description of a data set, or ''."""
    if not isinstance(given, dict):
        return "is no object"
    if not isinstance(given.get("file_name", ""), str):
        return f"file_name is {given['file_name']!r}, not text"
    for part, known in (("columns", KNOWN), ("tags", tuple(TAGS))):
        names = given.get(part, {})
        if not isinstance(names, dict) or not all(isinstance(name, str | None) for name in names.values()):
            return f"{part} is no object of names"
        wrong = next((name for name in names if name not in known), None)
        if wrong is not None:
            return f"{part} has no '{wrong}'; {nearest(wrong, known)}"
    formatting = given.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        return f"formatting is {formatting!r}, not alpaca, sharegpt or openai"
    samples = given.get("num_samples")
    if samples is not None and (not isinstance(samples, int) or samples < 1):
        return f"num_samples is {samples!r}, not a number from 1"
    return ""
