"""JSON in files: which of its four shapes a file has, and values read one after another in bounded memory."""

import json
import re
from typing import Any, Literal, TextIO

from xinglin.data.containers import Head, UnreadableFile

CHUNK = 1 << 20
LINES = (".jsonl", ".ndjson")
NAMES = (".json", *LINES)
BLANK, COLON, COMMA = re.compile(r"\s*"), re.compile(r"\s*:\s*"), re.compile(r"\s*,")
MESSAGE = {"role", "from", "human", "user", "name", "function"}
"""Keys of elements that are parts of a row: messages, and tools."""
FIELDS = ("chosen", "rejected", "options", "option", "qa_pairs", "history")
"""Keys of rows whose values look like rows."""

Shape = Literal["lines", "array", "values", "keyed"]


def shape(head: Head) -> Shape | None:
    """The name alone cannot tell. It counts for one line of strings, a row of ``.jsonl`` and an array elsewhere, and
    for bare numbers, words in quotes and lists of these, which are text elsewhere."""
    text = head.text.lstrip()
    first, newline, rest = text.partition("\n")
    second = rest.lstrip("\n").split("\n")[0]
    if re.match(r'\{\s*["}]', second) and _is_json(second):
        return "lines"
    if re.match(r'\{\s*["}]', text):
        if head.suffix not in LINES and _is_keyed(text):
            return "keyed"
        return "lines" if not newline or any(map(_is_row, text.split("\n")[:20])) else "values"
    if re.match(r'\[\s*[\[{"\]]', text):
        alone = not second and text.startswith('["') and head.suffix in LINES
        return "lines" if _is_json(first) and (alone or second.startswith("[")) else "array"
    if head.suffix in NAMES and (_is_json(first) or text.startswith("[")):
        return "lines" if _is_json(first) else "array"
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
    """Whether an object holds rows as its values: objects with a key in common, or lists of objects.

    A row may hold a list of objects as well, so each value that ends in ``text`` is looked at.
    """
    decode = json.JSONDecoder().raw_decode
    first: dict[str, Any] | None = None
    at = 1
    try:
        for _ in range(2):
            key, at = decode(text, _past(BLANK, text, at))
            at = _past(COLON, text, at)
            if key.lower() in FIELDS or text[at] not in "[{":
                return False
            if text[at] == "[":
                element, _ = decode(text, _past(BLANK, text, at + 1))
                if first is not None or not isinstance(element, dict) or MESSAGE & element.keys():
                    return False
                return _lists_follow(text, at)
            value, at = decode(text, at)
            if first is not None:
                return bool(first.keys() & value.keys())
            first, at = value, _past(COMMA, text, at)
    except (ValueError, RecursionError, IndexError):
        pass
    return False


def _lists_follow(text: str, at: int) -> bool:
    """Whether the list at ``at`` runs on beyond ``text``, or ends the object, or only lists stand beside it."""
    decode = json.JSONDecoder().raw_decode
    try:
        while True:
            if text[at] != "[":
                return False
            _, at = decode(text, at)
            if text[_past(BLANK, text, at)] == "}":
                return True
            _, at = decode(text, _past(BLANK, text, _past(COMMA, text, at)))
            at = _past(COLON, text, at)
    except (ValueError, RecursionError, IndexError):
        return True


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where ``pattern``, which has to stand at ``at``, ends. Raises: ValueError."""
    if not (found := pattern.match(text, at)):
        raise ValueError(f"no {pattern.pattern} at {at}")
    return found.end()


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
