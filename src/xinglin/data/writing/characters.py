"""What a text consists of: letters by script, digits, punctuation, symbols and blanks, counted in one pass."""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_CHINESE, _LATIN, _OTHER, _DIGIT, _PUNCTUATION, _SYMBOL, _BLANK, _OUTSIDE = range(8)
_DRAWN = set("#*=_|~^\\<>@$&+`/-")
"""ASCII signs that draw tables, rules and code; Unicode calls some of them punctuation."""


class Census(NamedTuple):
    """How many characters of each sort."""

    chinese: int
    latin: int
    """Letters of Latin scripts."""
    other: int
    """Letters of other scripts."""
    digits: int
    """Digits of any script, circled and superscript ones too."""
    punctuation: int
    symbols: int
    blanks: int
    outside: int
    """Half characters outside the basic plane: two for an emoji or a rare ideograph."""

    @property
    def letters(self) -> int:
        return self.chinese + self.latin + self.other

    @property
    def visible(self) -> int:
        return self.letters + self.digits + self.punctuation + self.symbols


def census(text: str) -> Census:
    codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    return Census(*np.bincount(_table()[codes], minlength=8).tolist())


@cache
def _table() -> npt.NDArray[np.uint8]:
    return np.array([_sort(chr(code)) for code in range(1 << 16)], dtype=np.uint8)


def _sort(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] == "L":
        if "\u3400" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff":
            return _CHINESE
        return _LATIN if character < "\u0250" or "\u1e00" <= character <= "\u1eff" else _OTHER
    if category == "Cs":
        return _OUTSIDE
    if category[0] == "N":
        return _DIGIT
    if category[0] == "P" and character not in _DRAWN:
        return _PUNCTUATION
    return _BLANK if category[0] == "Z" or character in "\t\n\r" else _SYMBOL
