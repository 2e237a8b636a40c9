"""What was found, without what it was: counts, and places with every value masked."""

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xinglin.data.deidentify.spans import Span

AROUND = 8
"""Characters shown before and after a value."""
_DIGIT = re.compile(r"\d")


@dataclass
class Findings:
    """Counts and masked examples; those of several processes add up to those of one."""

    num_examples: int = 3
    records: int = 0
    """Records that held something."""
    counts: Counter[str] = field(default_factory=Counter)
    """Spans by type."""
    _places: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, text: str, spans: Sequence[Span], *, place: str) -> None:
        """Count ``spans`` of ``text``, which stands at ``place``."""
        self.counts.update(span.type for span in spans)
        for index, span in enumerate(spans):
            # Which examples are kept follows from where they stand, not from who looks first.
            ticket = hashlib.blake2b(f"{place}\0{index}".encode(), digest_size=8).hexdigest()
            kept = self._places.get(span.type, [])
            if len(kept) < self.num_examples or (kept and ticket < kept[-1][0]):
                self._keep(span.type, [(ticket, masked(text, spans, index))])

    def merge(self, other: "Findings") -> None:
        """Add what another process found."""
        self.records += other.records
        self.counts.update(other.counts)
        for type, places in other._places.items():
            self._keep(type, places)

    def _keep(self, type: str, places: list[tuple[str, str]]) -> None:
        both = [*self._places.get(type, []), *places]
        self._places[type] = heapq.nsmallest(self.num_examples, both)

    def to_json(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "counts": dict(self.counts.most_common()),
            "examples": {type: [text for _, text in self._places[type]] for type in sorted(self._places)},
        }


def masked(text: str, spans: Sequence[Span], index: int) -> str:
    """A few characters around ``spans[index]``; instead of every value its type and length, of every digit ``#``."""
    start, end = spans[index].start - AROUND, spans[index].end + AROUND
    pieces, at = [], max(0, start)
    for span in spans:
        if span.end <= start or span.start >= end:
            continue
        pieces += [_DIGIT.sub("#", text[at : span.start]), f"‹{span.type}:{span.end - span.start}›"]
        at = span.end
    return "".join([*pieces, _DIGIT.sub("#", text[at : max(at, end)])]).replace("\n", " ")
