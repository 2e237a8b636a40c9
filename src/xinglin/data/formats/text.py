"""Plain text for pretraining: txt and md files, rows of text, bare strings.

    {"text": "感冒是由病毒引起的上呼吸道感染……"}

A plain text file is cut into documents by blank lines unless ``document`` says otherwise.
"""

from collections.abc import Iterator
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Row, _turns
from xinglin.data.records import Document, Origin

RECORD = "document"
UNIT = "file"


class Options(Config):
    document: Literal["file", "block", "paragraph"] = "block"
    """What one document of a plain text file is: the whole file, a block between blank lines, or one line
    (for files that hold a paragraph per line with no relation between them)."""


def matches(row: Row) -> bool:
    return isinstance(row, str) or (isinstance(row, dict) and "text" in row and isinstance(row["text"], str))


def parse(row: dict[str, Any] | str, options: Options, origin: Origin) -> Iterator[Document]:
    text = row if isinstance(row, str) else row["text"]
    if not text.strip():
        raise Reject("empty", "no text")
    yield Document(text, origin, {} if isinstance(row, str) else _turns.rest(row, "text"))


def cut(lines: Iterator[str], options: Options) -> Iterator[tuple[int, str]]:
    if options.document == "file":
        yield 1, "".join(lines)
        return
    block: list[str] = []
    start = 1
    for number, line in enumerate(lines, start=1):
        blank = not line.strip()
        if not blank:
            start = start if block else number
            block.append(line)
        if block and (blank or options.document == "paragraph"):
            yield start, "".join(block).rstrip("\n")
            block = []
    if block:
        yield start, "".join(block).rstrip("\n")
