"""Chinese classics as text with ``<篇名>`` at the head of every section (TCM-Ancient-Books).

    <篇名>神农本草经
    书名：神农本草经
    作者：孙星衍
    <目录>卷一\\上经
    <篇名>大枣
    内容：味甘，平。主心腹邪气，安中养脾，助十二经，

One section is one document: its name, and below it the text with hard line ends joined. Book, author, period and
chapter travel in ``meta``.
"""

import re
from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Row, _turns
from xinglin.data.records import Document, Origin
from xinglin.data.writing import wraps

RECORD = "document"
UNIT = "file"
SECTION, CHAPTER = "<篇名>", "<目录>"
BOOK = ("书名", "作者", "朝代", "年份")
FIELD = re.compile(rf"({'|'.join(BOOK)})：\s*(.*)")


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    if isinstance(row, str):
        return re.search(rf"^{SECTION}", row, re.MULTILINE) is not None
    return isinstance(row, dict) and {"篇名", "内容"} <= row.keys()


def cut(lines: Iterator[str], options: Options) -> Iterator[tuple[int, dict[str, str]]]:
    """Sections with the facts of the book; its title page, which holds nothing else, is no section."""
    book: dict[str, str] = {}
    chapter = name = ""
    start, text = 1, []
    for number, line in enumerate(lines, start=1):
        if line.startswith((SECTION, CHAPTER)):
            if any(text):
                yield start, {**book, "目录": chapter, "篇名": name, "内容": "\n".join(text)}
            start, text = number, []
            if line.startswith(SECTION):
                name = line.removeprefix(SECTION).strip()
            else:
                chapter = line.removeprefix(CHAPTER).strip()
        elif field := FIELD.match(line):
            book[field[1]] = field[2].strip()
        else:
            text.append(line.rstrip())
    if any(text):
        yield start, {**book, "目录": chapter, "篇名": name, "内容": "\n".join(text)}


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Document]:
    text = wraps.joined(_turns.text(row["内容"], "内容").strip().removeprefix("内容：")).strip()
    if not text:
        raise Reject("empty", "no text")
    name = _turns.text(row["篇名"], "篇名")
    meta = {key: value for key, value in _turns.rest(row, "内容").items() if value}
    yield Document(f"{name}\n{text}" if name else text, origin, meta)
