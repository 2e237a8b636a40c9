"""How much of a text it has said before: the share of repeated n-grams, and of repeated lines."""

from collections import Counter
from functools import cache

import numpy as np
import numpy.typing as npt

from xinglin.data.writing.language import CHINESE

_OTHER, _LETTER, _CHINESE = range(3)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_PLACES = np.random.default_rng(0).integers(1 << 63, size=64, dtype=np.uint64) | np.uint64(1)
"""What a character is multiplied with, by its place in a word."""


def repeated_share(text: str, *, ngram: int) -> float:
    """1 - different n-grams / n-grams; 0 for texts shorter than two of them.

    Grams are made of Chinese characters and of runs of other letters and digits, in any case.
    """
    grams = _grams(_words(text), ngram)
    if len(grams) < 2:
        return 0.0
    grams.sort()
    return float(np.count_nonzero(grams[1:] == grams[:-1])) / len(grams)


def repeated_lines(text: str) -> float:
    """Characters in lines that stood there before, as a share of all; blank lines count as nothing."""
    lines = Counter(stripped for line in text.split("\n") if (stripped := line.strip()))
    total = sum(len(line) * count for line, count in lines.items())
    return sum(len(line) * (count - 1) for line, count in lines.items()) / total if total else 0.0


def _words(text: str) -> npt.NDArray[np.uint64]:
    """(W,) a 64-bit hash of each word, the same in every process."""
    codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    sorts, small = (table[codes] for table in _tables())
    begins = sorts == _LETTER
    begins[1:] &= sorts[:-1] != _LETTER
    begins |= sorts == _CHINESE
    at = np.flatnonzero(begins)
    if not len(at):
        return np.zeros(0, dtype=np.uint64)
    place = np.arange(at[0], len(codes)) - np.repeat(at, np.diff(at, append=len(codes)))
    values = small[at[0] :] * _PLACES[place % len(_PLACES)]
    values[sorts[at[0] :] == _OTHER] = 0
    return np.add.reduceat(values, at - at[0])


def _grams(words: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    """(W - size + 1,) a hash of every ``size`` words in a row, made of those of half as many."""
    if len(words) < size:
        return words[:0]
    if size == 1:
        return words.copy()
    half = _grams(words, size // 2)
    joined = half[: len(half) - size // 2] * _power(size // 2) + half[size // 2 :]
    return joined[:-1] * _BASE + words[size - 1 :] if size % 2 else joined


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(_BASE), exponent, 1 << 64))


@cache
def _tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Of every UTF-16 unit: its sort, and the code of its small letter. Halves of emoji and the like count as none."""

    def sort(character: str) -> int:
        if CHINESE.match(character):
            return _CHINESE
        return _LETTER if character.isalnum() else _OTHER

    units = [chr(code) for code in range(1 << 16)]
    sorts = np.array([sort(unit) for unit in units], dtype=np.uint8)
    return sorts, np.array([ord(unit.lower()[0]) for unit in units], dtype=np.uint64)
