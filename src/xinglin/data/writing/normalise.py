"""Texts in one writing: widths, invisible characters, blanks, HTML, platform phrases, and the lines of books.

Nothing that carries a dose changes its meaning: ½, ², ①, ℃, μ, ≤ and ± stay as they are (which NFKC would turn into
1/2, 2, 1, °C …), and full-width digits keep their value. What was normalised is not changed by doing it again.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.records import Document, Record, texts, with_texts
from xinglin.data.writing.boilerplate import without_boilerplate
from xinglin.data.writing.markup import is_about_code, without_markup
from xinglin.data.writing.urls import URL
from xinglin.data.writing.wraps import joined, without_page_furniture

Step = Callable[[str], str]

_DOCUMENTS_ONLY = {"hard_wraps", "page_furniture"}

_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\u2028\u2029]")
_INNER_BLANK = re.compile(r"(?<=[^\n\u3000])\u3000+")
"""At the start of a line it indents a paragraph."""
_ODD_BLANKS = "\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
# Joiners (U+200C, U+200D) stay: emoji and several scripts are spelled with them.
_GONE = [*range(9), *range(14, 32), 0x7F, 0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A),
         0xFEFF, *range(0xFFF9, 0xFFFC)]  # fmt: skip
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
"""What these control characters mean in web pages that say they are Latin-1."""
_VISIBLE = str.maketrans(
    dict.fromkeys(_ODD_BLANKS, " ")
    | dict.fromkeys(map(chr, _GONE), "")
    | {chr(code): text for code, text in _WINDOWS.items()}
)
_INVISIBLE = re.compile(f"[{re.escape(''.join(map(chr, _VISIBLE)))}\r\x0b\x0c\u2028\u2029\u3000]")

_SIGNS = "＋－＝／％＜＞＆＃＠＊＿＄＾"
"""Signs that numbers, units and addresses are written with; ，。：；！？（）［］ are Chinese punctuation."""
_WIDE = re.compile(f"[{_SIGNS}０-９Ａ-Ｚａ-ｚ]+")
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_DECIMAL_POINT = re.compile(r"(?<![\d.．])(0|(?<=[A-Za-z\u4e00-\u9fff<>=≤≥≈~～±])\d+)．(?=\d)")
"""Not after a blank or a sign: 1．5岁以下禁用 may be the first item of a list."""
_COMPATIBILITY = re.compile(r"[\u2e80-\u2fdf\uf900-\ufaff\ufb00-\ufb06\uff61-\uff9f]+")
"""CJK radicals, compatibility ideographs, Latin ligatures, half-width kana."""
_ODD_FORM = re.compile(f"[{_SIGNS}０-９Ａ-Ｚａ-ｚ．\u2e80-\u2fdf\uf900-\ufaff\ufb00-\ufb06\uff61-\uff9f]")

_LINE_TAIL = re.compile(r"(?<![ \t])[ \t]+\n")
_BLANK_LINES = re.compile(r"\n{3,}")
_BLANKS = re.compile(r"(?<=\S) {2,}(?=\S)")
_COLUMNS = re.compile(r"```|\n {4}|\t|\|")
"""Code and tables, where blanks have a meaning."""


class Normalise(Config):
    """How texts are brought into one writing. Descriptions of tools stay as they are."""

    characters: bool = True
    """Full-width letters, digits and signs such as ％ and ＋ become half-width; Chinese punctuation stays. Ligatures,
    radicals and compatibility forms that look like an ordinary character become that one."""
    invisible: bool = True
    """Control characters, zero-width characters, byte-order marks and marks of direction go; line ends become line
    feeds, and odd blanks ordinary ones."""
    blanks: bool = True
    """Blanks go at the ends of texts and lines, and several in a row inside a line become one; so do blank lines."""
    markup: bool = True
    """HTML tags and entities become what a reader would see, except in records about code."""
    boilerplate: bool = True
    """Phrases that a platform adds go: ``感谢您的信任，病情资料我已详细阅读。``, ``Thank you for consulting …``."""
    phrases: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Further phrases that go, letter for letter."""
    urls: Literal["keep", "remove"] = "keep"
    """What becomes of web addresses."""
    hard_wraps: bool = True
    """In documents, lines that were broken at one width are joined; lists, tables, headings and verse are not."""
    page_furniture: bool = True
    """In documents, lines with a page number that come back on every page go."""


class Normalised(NamedTuple):
    record: Record
    """The very record that was given where nothing had to be changed."""
    changed: frozenset[str]
    """The settings that changed something."""


class Normaliser:
    """Brings records into one writing, as ``config`` says."""

    def __init__(self, config: Normalise):
        self._document_steps = _steps(config)
        self._steps = {
            name: step for name, step in self._document_steps.items() if name not in _DOCUMENTS_ONLY
        }

    def __call__(self, record: Record) -> Normalised:
        steps = self._document_steps if isinstance(record, Document) else self._steps
        written = texts(record)
        if any("<" in text or "&" in text for text in written) and any(map(is_about_code, written)):
            steps = {name: step for name, step in steps.items() if name != "markup"}
        changed: set[str] = set()
        return Normalised(with_texts(record, lambda text: _normal(text, steps, changed)), frozenset(changed))


def _normal(text: str, steps: Mapping[str, Step], changed: set[str]) -> str:
    """Steps in order, and again while they change anything: what one uncovers (an escaped tag, blanks around a
    phrase) another one takes. Each makes a text shorter or its characters plainer, so this ends."""
    while True:
        before = text
        for name, step in steps.items():
            after = step(text)
            if after != text:
                changed.add(name)
                text = after
        if text == before:
            return text


def _steps(config: Normalise) -> dict[str, Step]:
    """The steps that ``config`` asks for, by its keys, in the order in which they help each other."""
    steps: dict[str, Step] = {
        "invisible": _visible,
        "characters": _plain,
        "markup": without_markup,
        "boilerplate": without_boilerplate,
        "phrases": partial(_without, config.phrases),
        "urls": _without_urls,
        "page_furniture": without_page_furniture,
        "hard_wraps": joined,
        "blanks": _trimmed,
    }
    return {name: step for name, step in steps.items() if getattr(config, name) not in (False, "keep", [])}


def _visible(text: str) -> str:
    if not _INVISIBLE.search(text):
        return text
    text = _INVISIBLE.sub(lambda found: found[0].translate(_VISIBLE), _LINE_END.sub("\n", text))
    return _INNER_BLANK.sub(" ", text)


def _plain(text: str) -> str:
    if not _ODD_FORM.search(text):
        return text
    text = _COMPATIBILITY.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    # Much faster than translating the whole text, of which little is wide.
    text = _WIDE.sub(lambda found: found[0].translate(_HALF_WIDTH), text)
    return _DECIMAL_POINT.sub(r"\1.", text) if "．" in text else text


def _without(phrases: Sequence[str], text: str) -> str:
    for phrase in phrases:
        text = text.replace(phrase, "")
    return text


def _without_urls(text: str) -> str:
    return URL.sub("", text)


def _trimmed(text: str) -> str:
    text = text.strip()
    if " \n" in text or "\t\n" in text or "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", _LINE_TAIL.sub("\n", text))
    if "  " in text and not _COLUMNS.search(text):
        text = _BLANKS.sub(" ", text)
    return text
