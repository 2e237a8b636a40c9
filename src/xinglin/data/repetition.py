"""How much of a text it has said before: the share of repeated n-grams, and of repeated lines."""

import re
from collections import Counter

_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+")
"""A Chinese character, or a run of other letters and digits."""


def repeated_share(text: str, *, ngram: int) -> float:
    """1 - different n-grams / n-grams; 0 for texts shorter than two of them."""
    words = _WORD.findall(text.casefold())
    grams = list(zip(*(words[start:] for start in range(ngram)), strict=False))
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def repeated_lines(text: str) -> float:
    """Characters in lines that stood there before, as a share of all; blank lines count as nothing."""
    lines = Counter(stripped for line in text.split("\n") if (stripped := line.strip()))
    total = sum(len(line) * count for line, count in lines.items())
    return sum(len(line) * (count - 1) for line, count in lines.items()) / total if total else 0.0
