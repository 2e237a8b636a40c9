"""Where personal data stand in a text."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from types import ModuleType

from xinglin import plugins
from xinglin.data.deidentify.spans import Span, resolve
from xinglin.data.writing.language import contains_chinese

PACKAGE = "xinglin.data.deidentify.detectors"
DETECTORS: tuple[ModuleType, ...] = tuple(plugins.load(PACKAGE, name) for name in plugins.names(PACKAGE))
TYPES: dict[str, tuple[str, str]] = {
    type: labels for detector in DETECTORS for type, labels in detector.LABELS.items()
}
"""Every type that detectors find, and its name in Chinese and English placeholders."""

_OWNERS: dict[re.Pattern[str], int] = {}
for _index, _detector in enumerate(DETECTORS):
    for _hint in _detector.HINTS:
        _OWNERS[_hint] = _OWNERS.get(_hint, 0) | 1 << _index
_HINTS = tuple((hint.search, owners) for hint, owners in _OWNERS.items())
"""Each hint once, and the detectors it is for, as bits."""

_PIECE = 1000
"""Characters."""
_CUT = re.compile(r"[^\s:：=#是为号名码证卡]\s*\n(?=\S)")
"""Where a text may be cut: not between a key word and what stands on the line below."""
_CHINESE_ONLY = sum(
    1 << index for index, detector in enumerate(DETECTORS) if getattr(detector, "CHINESE", False)
)

_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff20\uff0b\uff0d\uff0e\uff3f]+")
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F) if _WIDE.match(chr(wide))}


def narrowed(text: str) -> str:
    """Full-width letters and digits as half-width ones, as detectors read them; the length stays."""
    # Much faster than translating the whole text, of which little is wide.
    return _WIDE.sub(lambda wide: wide[0].translate(_NARROW), text)


def found_by_rules(text: str, *, types: frozenset[str], asked: int | None = None) -> list[tuple[Span, int]]:
    """Every span of ``types`` that a detector finds, with the detector's rank; they may overlap.

    Args:
        asked: what ``foreseen`` says of ``text``, where that is known.
    """
    if asked == 0:
        return []
    text = narrowed(text)
    pieces = _pieces(text) if asked is None else [(0, text, asked)]
    return [
        (Span(span.type, span.start + offset, span.end + offset), detector.RANK)
        for offset, piece, asked in pieces
        for detector in _detectors(asked)
        if not types.isdisjoint(detector.LABELS)
        for span in detector.find(piece)
        if span.type in types
    ]


def foreseen(texts: Iterable[str]) -> dict[str, int]:
    """The detectors worth asking about each of ``texts``, as bits; long texts, which are read in pieces, are left
    out. Looking for a hint in all of them at once takes a fifth of the time."""
    short = [text for text in dict.fromkeys(texts) if len(text) <= 2 * _PIECE]
    return dict(zip(short, _worth_asking(short), strict=True))


def _pieces(text: str) -> Iterator[tuple[int, str, int]]:
    """Whole lines of a long text, with where they begin and whom to ask: a book is mostly pages that no detector need
    read."""
    start, pieces = 0, []
    while len(text) - start > 2 * _PIECE and (cut := _CUT.search(text, start + _PIECE)):
        pieces.append((start, text[start : cut.end()]))
        start = cut.end()
    pieces.append((start, text[start:] if start else text))
    asked = _worth_asking([piece for _, piece in pieces])
    return ((start, piece, bits) for (start, piece), bits in zip(pieces, asked, strict=True))


def _worth_asking(texts: Sequence[str]) -> list[int]:
    """The detectors whose hints are found in each text."""
    joined = narrowed("\n".join(texts))
    ends = list(accumulate(len(text) + 1 for text in texts))
    asked = [0] * len(texts)
    for search, owners in _HINTS:
        place = 0
        match = search(joined)
        while match:
            place = bisect_right(ends, match.start(), place)
            asked[place] |= owners
            match = search(joined, ends[place])
    return [
        bits & ~_CHINESE_ONLY if bits and text.isascii() else bits
        for text, bits in zip(texts, asked, strict=True)
    ]


@cache
def _detectors(asked: int) -> list[ModuleType]:
    return [detector for index, detector in enumerate(DETECTORS) if asked >> index & 1]


def scan(text: str, *, types: frozenset[str] | None = None) -> list[Span]:
    """Personal data in ``text``: spans in order that do not overlap.

    Args:
        types: what to look for. None: every type.
    """
    return resolve(found_by_rules(text, types=types or frozenset(TYPES)))


@cache
def detector_of(type: str, *, chinese: bool) -> ModuleType | None:
    """Who invents a value of ``type``; None for a type that no detector has."""
    able = [detector for detector in DETECTORS if type in detector.LABELS]
    same = [detector for detector in able if getattr(detector, "CHINESE", chinese) == chinese]
    return next(iter(same or able), None)


def inventor(type: str, value: str) -> ModuleType | None:
    return detector_of(type, chinese=contains_chinese(value))
