"""One file per kind of file: how a file of that kind becomes rows.

A kind is told by what is in the file, not by its name; packed files (gz, zst, bz2, xz) and zip archives are opened on
the way. A kind is a module with

    a docstring       its first line says what the kind is
    TEXT: bool        whether it is text, whose encoding is found first
    opens(head)       whether a file that begins so is one. Only one kind may claim a file, except that ``text`` is
                      asked last
    rows(container)   yields a ``Row`` or an ``Unreadable`` for each row; or, for kinds without rows of their own,
    lines(container)  yields the lines of its plain text, which a format cuts into rows

and raises ``UnreadableFile`` where the rest of a file cannot be read.
"""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from lzma import LZMAError
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TextIO

from xinglin import plugins
from xinglin.data.containers import _encoding
from xinglin.data.containers._bytes import File
from xinglin.errors import DataError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How .xls and .doc files of before 2007 begin."""
BROKEN = (OSError, EOFError, zlib.error, LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
"""What the standard library raises for archives that are damaged, cut off or encrypted."""


DEEPEST = 100
"""Values within one another: more would exhaust the stack of whoever walks through them."""


class UnreadableFile(DataError):
    """A file of which nothing, or nothing more, can be read. ``reason`` is one stable word to count by."""

    def __init__(self, reason: str, message: str):
        self.reason = reason
        super().__init__(message)

    @classmethod
    def broken(cls, what: str, error: Exception) -> Self:
        """A damaged or locked file; ``what`` says which, and ``error`` is that of the library that reads it."""
        locked = isinstance(error, RuntimeError) and "password" in str(error)
        cure = "unpack it with its password" if locked else "damaged or cut off, so fetch or save it again"
        return cls("broken_file", f"{what} ({error}); {cure}")


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    """1-based line of a line-wise file, element of an array, row of a table."""
    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that its container could not even give a value."""

    number: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a kind is told by."""

    suffix: str
    """In small letters, of what is unpacked."""
    start: bytes
    text: str = ""
    """The first 65,536 characters of a text file; '' for other files."""
    members: tuple[str, ...] = ()
    """What a zip archive holds."""


@dataclass(frozen=True, slots=True)
class Container:
    file: File
    kind: str
    encoding: _encoding.Encoding | None = None
    """Of text; None for other files."""

    @property
    def place(self) -> str:
        return str(self.file)

    @property
    def has_rows(self) -> bool:
        """Whether it has rows of its own; if not it has lines."""
        return hasattr(_kind(self.kind), "rows")

    def text(self, *, newline: str | None = None) -> TextIO:
        assert self.encoding is not None
        return _encoding.decoded(self.file, self.encoding, newline=newline)

    def rows(self) -> Iterator[Row | Unreadable]:
        """Raises: UnreadableFile, when the rest of the file cannot be read."""
        return self._guarded(_kind(self.kind).rows(self))

    def lines(self) -> Iterator[str]:
        """Raises: UnreadableFile, when the rest of the file cannot be read."""
        return self._guarded(_kind(self.kind).lines(self))

    def _guarded(self, found: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from found
        except UnreadableFile:
            raise
        except DataError as error:
            raise UnreadableFile("unsupported_file", f"{self.file}: {error}") from error
        except BROKEN as error:
            raise UnreadableFile.broken(f"{self.file}: cannot be read to its end", error) from error


def inspect(place: Path | File) -> Container:
    """What a file is. Text is read once, to be sure of its encoding.

    Raises:
        UnreadableFile: empty, damaged, or of no kind that is known.
    """
    file = File(place) if isinstance(place, Path) else place
    try:
        return _inspect(file)
    except UnreadableFile:
        raise
    except DataError as error:
        raise UnreadableFile("unsupported_file", f"{file}: {error}") from error
    except BROKEN as error:
        raise UnreadableFile.broken(f"{file}: cannot be read", error) from error


def members(path: Path) -> list[File]:
    """The files in a zip archive, hidden ones and folders left out; for any other file, that file alone."""
    file = File(path)
    try:
        inside = file.members
    except (DataError, *BROKEN):  # said when it is inspected
        return [file]
    if not inside or any(kind.opens(Head(file.suffix, b"", members=inside)) for kind in _kinds(text=False)):
        return [file]
    seen = [name for name in inside if not name.endswith("/") and not _hidden(name)]
    return [File(path, name) for name in sorted(seen)]


def fault(value: Any) -> tuple[str, str] | None:
    """The reason why no record can hold a value, and more about it: text that UTF-8 cannot carry, as of bytes that did
    not decode, or lists in lists without end. None for all others."""
    level, texts, depth = [value], [], 0
    while level:
        parts, level, depth = level, [], depth + 1
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, dict):
                texts += part
                level += part.values()
            elif isinstance(part, list):
                level += part
    if depth > DEEPEST:
        return "too_deep", f"{depth} values within one another; flatten it"
    try:
        " ".join(texts).encode()
    except UnicodeEncodeError:
        return "bad_encoding", "holds bytes that are not text, or half a character"
    return None


def _inspect(file: File) -> Container:
    with file.open() as stream:
        start = stream.read(4096)
    if not start.strip():
        raise UnreadableFile("empty_file", f"{file}: the file is empty; leave it out, or write rows into it")
    head = Head(file.suffix, start, members=file.members)
    kind = _claim(head, text=False)
    if kind:
        return Container(file, kind)
    if start.startswith(OLE) or head.members:
        cure = "unpack it" if head.members else "save it as .xlsx or .docx"
        raise UnreadableFile("unsupported_file", f"{file}: a kind of file that is not read; {cure}")
    encoding = _encoding.detect(file)
    if not encoding.name:
        raise UnreadableFile(
            "not_text",
            f"{file}: not a text file ({encoding.fault}), nor of a kind that is known "
            f"({', '.join(plugins.names(__name__))}); leave it out, or save it as UTF-8",
        )
    text = _encoding.start(file, encoding)
    if not text.strip():
        raise UnreadableFile("empty_file", f"{file}: the file is empty; leave it out, or write rows into it")
    return Container(file, _claim(Head(file.suffix, start, text), text=True) or "text", encoding)


def _claim(head: Head, *, text: bool) -> str | None:
    found = (kind for kind in _kinds(text=text) if kind.opens(head))
    kind = next(found, None)
    return kind.__name__.rsplit(".", 1)[-1] if kind else None


@cache
def _kinds(*, text: bool) -> tuple[ModuleType, ...]:
    kinds = [_kind(name) for name in plugins.names(__name__) if name != "text"]
    return tuple(kind for kind in kinds if text == kind.TEXT)


def _kind(name: str) -> ModuleType:
    return plugins.load(__name__, name)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
