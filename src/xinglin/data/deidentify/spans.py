"""Where something personal stands in a text, and which of several findings counts."""

from bisect import bisect_right, insort
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple


class Span(NamedTuple):
    type: str
    start: int
    end: int
    """Offsets in characters, as in ``text[start:end]``."""


def resolve(found: Iterable[tuple[Span, int]]) -> list[Span]:
    """Spans that do not overlap and cover whatever any of ``found`` covers, in order.

    Args:
        found: spans, each with the rank of its detector. The longer span wins; of two as long, the smaller rank,
            then the one that starts first. A span that sticks out of a winner keeps the part that sticks out.
    """
    kept: list[Span] = []
    for span, _ in sorted(found, key=lambda pair: (pair[0].start - pair[0].end, pair[1], pair[0])):
        for part in _uncovered(span, kept):
            insort(kept, part, key=_start)
    return kept


def _uncovered(span: Span, winners: list[Span]) -> list[Span]:
    """The parts of ``span`` that no winner covers; winners are in order and do not overlap."""
    start, parts = span.start, []
    first = max(0, bisect_right(winners, span.start, key=_start) - 1)
    for winner in islice(winners, first, None):
        if winner.start >= span.end:
            break
        if winner.start > start:
            parts.append(Span(span.type, start, winner.start))
        start = max(start, winner.end)
    if start < span.end:
        parts.append(Span(span.type, start, span.end))
    return parts


def _start(span: Span) -> int:
    return span.start
