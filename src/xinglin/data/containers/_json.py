"""JSON in files: which of its four shapes a file has, and values read one after another in bounded memory."""

import json
import re
from typing import Any, Literal, TextIO

from xinglin.data.containers import Head, UnreadableFile

CHUNK = 1 << 20
LINES = (".jsonl", ".ndjson")
BLANK = re.compile(r"\s*")
MESSAGE = {"role", "from", "human", "user", "name", "function"}
"""Keys of elements that are parts of a row: messages, and tools."""
FIELDS = ("chosen", "rejected", "options", "option", "qa_pairs", "history")
"""Keys of rows whose values look like rows."""

Shape = Literal["lines", "array", "values", "keyed"]


def shape(head: Head) -> Shape | None:
    """The name cannot tell; it only counts for one line of strings, a row of ``.jsonl`` and an array elsewhere."""
    text = head.text.lstrip()
    first, newline, rest = text.partition("\n")
    second = rest.lstrip("\n").split("\n")[0]
    if re.match(r'\{\s*["}]', second) and _is_json(second):
        return "lines"
    if re.match(r'\{\s*["}]', text):
        if _is_keyed(text):
            return "keyed"
        return "lines" if not newline or any(map(_is_row, text.split("\n")[:20])) else "values"
    if re.match(r'\[\s*[\[{"\]]', text):
        alone = not second and text.startswith('["') and head.suffix in LINES
        return "lines" if _is_json(first) and (alone or second.startswith("[")) else "array"
    return None


def _is_row(line: str) -> bool:
    return line.startswith("{") and _is_json(line)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_keyed(text: str) -> bool:
    """Whether an object holds rows as its values: objects with a key in common, or lists of objects."""
    entries = []
    decode = json.JSONDecoder().raw_decode
    at = 1
    try:
        while len(entries) < 2:
            at = BLANK.match(text, at).end()  # type: ignore[union-attr]
            key, at = decode(text, at)
            at = re.compile(r"\s*:\s*").match(text, at).end()  # type: ignore[union-attr]
            if key.lower() in FIELDS or text[at] not in "[{":
                return False
            if text[at] == "[":
                element, _ = decode(text, BLANK.match(text, at + 1).end())  # type: ignore[union-attr]
                return isinstance(element, dict) and not MESSAGE & element.keys()
            value, at = decode(text, at)
            entries.append(value)
            if len(entries) < 2:
                at = re.compile(r"\s*,").match(text, at).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError, AttributeError, IndexError):
        return False
    return bool(entries[0].keys() & entries[1].keys())


class Reader:
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
                    self._at = end
                    return value

    def element(self) -> Any:
        """A value that is counted as a row."""
        value = self.value()
        self.number += 1
        return value

    def broken(self, what: str) -> UnreadableFile:
        near = self._window[self._at : self._at + 60].replace("\n", " ")
        return UnreadableFile(
            "broken_json",
            f"{self._place}: the JSON breaks after element {self.number}: {what}, near {near!r}; "
            "repair it, or save the rows as JSON Lines, where one bad row is quarantined alone",
        )

    def _fill(self) -> bool:
        text = self._stream.read(max(CHUNK, len(self._window) - self._at))
        if text:
            self._window, self._at = self._window[self._at :] + text, 0
        return bool(text)
