"""Which texts are new: none before them is nearly the same."""

import re
import unicodedata
from collections.abc import Iterable

from xinglin.evaluate.scorers import longest_common_subsequence

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


class Novelty:
    """Keeps what is new.

    Likeness is the F-score of ROUGE-L (Lin, 2004), over Chinese characters and over words of other scripts. Texts whose
    lengths or units alone rule a likeness out are not compared.

    Args:
        threshold: texts that are at least so alike are not new.
        seeds: what is there from the beginning, new or not.
    """

    def __init__(self, threshold: float, seeds: Iterable[str] = ()):
        self.threshold = threshold
        self._kept: list[tuple[list[str], frozenset[str]]] = []
        for seed in seeds:
            self._keep(_units(seed))

    def add(self, text: str) -> bool:
        """Whether ``text`` is new; it is kept if so."""
        units = _units(text)
        new = not any(self._alike(units, *kept) for kept in self._kept)
        if new:
            self._keep(units)
        return new

    def _keep(self, units: list[str]) -> None:
        self._kept.append((units, frozenset(units)))

    def _alike(self, units: list[str], other: list[str], known: frozenset[str]) -> bool:
        # F = 2 LCS / (m + n), and the LCS is no longer than what both have.
        needed = self.threshold * (len(units) + len(other)) / 2
        if min(len(units), len(other)) < needed or sum(unit in known for unit in units) < needed:
            return False
        return longest_common_subsequence(units, other) >= needed


def _units(text: str) -> list[str]:
    return _UNIT.findall(unicodedata.normalize("NFKC", text).lower())
