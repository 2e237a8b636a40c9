"""Rows out of files. The container is told by what is in the file, not by its name.

    lines    JSON Lines: one JSON value per line
    array    one JSON array, read element by element in bounded memory
    values   JSON objects that run over several lines, one or more
    table    CSV or TSV with a header
    text     anything else

The suffix counts only where the content cannot tell: commas alone do not make a table, and one line that
lists strings is an array of texts unless the file is called ``.jsonl``, then it is one row.
Text is UTF-8 (with or without a mark) or GB18030, decoded strictly; gzip is opened on the way.
"""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO, cast

from xinglin.errors import DataError

CHUNK = 1 << 20
HEAD = 1 << 16
UTF8_EVIDENCE = 16
"""Extra bytes of multi-byte characters before the first fault that make a file damaged UTF-8. GB18030 text
passes for UTF-8 by accident about once in seven characters, so sixteen in a row do not happen."""
TABLES = (".csv", ".tsv", ".tab")
LINES = (".jsonl", ".ndjson")
DELIMITERS = ",\t;|"
BLANK = re.compile(r"\s*")

Shape = Literal["lines", "array", "values", "table", "text"]


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    """1-based line of a line-wise file, element of an array."""
    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that its container could not even give a value."""

    number: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class Container:
    path: Path
    encoding: str
    errors: str
    """``strict``, or ``surrogateescape`` for damaged UTF-8, whose damaged rows then hold lone surrogates."""
    shape: Shape

    def open(self) -> TextIO:
        newline = "" if self.shape == "table" else None
        return io.TextIOWrapper(_open_bytes(self.path), self.encoding, self.errors, newline=newline)

    def rows(self) -> Iterator[Row | Unreadable]:
        """The rows of anything but text. Raises: DataError, when the rest of the file cannot be read."""
        readers = {"lines": _lines, "array": _array, "values": _values, "table": _table}
        with self.open() as stream:
            yield from readers[self.shape](stream, str(self.path))


def inspect(path: Path) -> Container:
    """What ``path`` is. Reads the file once to be sure of its encoding.

    Raises:
        DataError: no text, or text in neither encoding.
    """
    try:
        encoding, errors = _encoding(path)
        with io.TextIOWrapper(_open_bytes(path), encoding, errors) as stream:
            head = stream.read(HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not head.strip():
        raise DataError(f"{path}: the file is empty; leave it out, or write rows into it")
    return Container(path, encoding, errors, _shape(head, path))


def damaged(value: Any) -> bool:
    """Whether a value holds text that UTF-8 cannot carry: bytes that did not decode, or half a character."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError:
                return True
        elif isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list):
            parts += part
    return False


def _open_bytes(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if zipped else path.open("rb")


def _encoding(path: Path) -> tuple[str, str]:
    faults = []
    for encoding in ("utf-8-sig", "gb18030"):
        fault, evidence = _first_fault(path, encoding)
        if fault is None:
            return encoding, "strict"
        if encoding == "utf-8-sig" and evidence >= UTF8_EVIDENCE:
            return encoding, "surrogateescape"
        faults.append(f"{encoding} fails at byte {fault}")
    raise DataError(f"{path}: neither UTF-8 nor GB18030 text ({', '.join(faults)}); save it as UTF-8")


def _first_fault(path: Path, encoding: str) -> tuple[int | None, int]:
    """Offset of the first byte that does not decode (None: all do), and bytes minus characters before it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = characters = 0
    with _open_bytes(path) as stream:
        while True:
            chunk = stream.read(CHUNK)
            if b"\0" in chunk:
                raise DataError(
                    f"{path}: not a text file (a zero byte near byte {offset + chunk.index(0)}); "
                    "name JSON, CSV or text files, in UTF-8 or GB18030"
                )
            pending = len(decoder.getstate()[0])
            try:
                characters += len(decoder.decode(chunk, final=not chunk))
            except UnicodeDecodeError as error:
                good = error.object[: error.start]
                fault = offset - pending + error.start
                return fault, fault - characters - len(good.decode(encoding, "ignore"))
            offset += len(chunk)
            if not chunk:
                return None, offset - characters


def _shape(head: str, path: Path) -> Shape:
    head = head.lstrip()
    first, newline, rest = head.partition("\n")
    second = rest.lstrip("\n").split("\n")[0]
    if re.match(r'\{\s*["}]', second) and _is_json(second):
        return "lines"
    if re.match(r'\{\s*["}]', head):
        return "lines" if not newline or _is_json(first) else "values"
    if re.match(r'\[\s*[\[{"\]]', head):
        alone = not second and head.startswith('["') and _suffix(path) in LINES
        return "lines" if _is_json(first) and (alone or second.startswith("[")) else "array"
    return "table" if _suffix(path) in TABLES else "text"


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(stream: TextIO, place: str) -> Iterator[Row | Unreadable]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Unreadable(number, "not_json", str(error), line.rstrip("\n"))
        else:
            yield Row(number, value)


def _array(stream: TextIO, place: str) -> Iterator[Row]:
    reader = _JsonReader(stream, place)
    reader.skip("[")
    if reader.next_character() == "]":
        return
    while True:
        yield Row(reader.number + 1, reader.value())
        if reader.skip(",]") == "]":
            break
    if reader.next_character():
        raise reader.broken("text after the end of the array")


def _values(stream: TextIO, place: str) -> Iterator[Row]:
    reader = _JsonReader(stream, place)
    while reader.next_character():
        yield Row(reader.number + 1, reader.value())


class _JsonReader:
    """JSON values one after another from a growing window, never more than about twice the largest value."""

    def __init__(self, stream: TextIO, place: str):
        self.number = 0
        self._stream, self._place = stream, place
        self._window, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def next_character(self) -> str:
        """The next character that is not blank, left where it is; '' at the end."""
        while True:
            if blank := BLANK.match(self._window, self._at):
                self._at = blank.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._fill():
                return ""

    def skip(self, expected: str) -> str:
        character = self.next_character()
        if not character or character not in expected:
            raise self.broken(f"expected {' or '.join(expected)}, found {character or 'the end of the file'}")
        self._at += 1
        return character

    def value(self) -> Any:
        self.next_character()
        while True:
            try:
                value, end = self._decode(self._window, self._at)
            except json.JSONDecodeError as error:
                # A value that the window cuts off fails at its end; anything else stays broken.
                cut_off = error.msg.startswith("Unterminated string") or error.pos > len(self._window) - 16
                if not (cut_off and self._fill()):
                    raise self.broken(error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self.broken(str(error)) from error
            else:
                # A number near the end of the window may go on: "1" of "1e-5".
                if end + 2 < len(self._window) or not self._fill():
                    self.number += 1
                    self._at = end
                    return value

    def broken(self, what: str) -> DataError:
        near = self._window[self._at : self._at + 60].replace("\n", " ")
        return DataError(
            f"{self._place}: the JSON breaks after element {self.number}: {what}, near {near!r}; "
            "repair it, or save the rows as JSON Lines, where one bad row is quarantined alone"
        )

    def _fill(self) -> bool:
        text = self._stream.read(max(CHUNK, len(self._window) - self._at))
        if text:
            self._window, self._at = self._window[self._at :] + text, 0
        return bool(text)


def _table(stream: TextIO, place: str) -> Iterator[Row | Unreadable]:
    csv.field_size_limit(2**31 - 1)
    first = stream.readline()
    stream.seek(0)
    reader = csv.reader(stream, delimiter=max(DELIMITERS, key=first.count), strict=True)
    header = [name.strip() for name in next(reader)]
    if len(set(header)) < len(header):
        raise DataError(f"{place}:1: two columns have the same name; rename one: {', '.join(header)}")
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(f"{place}:{number}: a quote opens here and never closes; close it") from error
            yield Unreadable(number, "bad_table_row", str(error), "")
            continue
        if len(cells) == len(header):
            yield Row(number, dict(zip(header, cells, strict=True)))
        elif cells:
            detail = f"{len(cells)} cells under {len(header)} headings"
            yield Unreadable(number, "bad_table_row", detail, json.dumps(cells, ensure_ascii=False))
