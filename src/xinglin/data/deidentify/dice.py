"""Choices that look random and follow from a key and a value: the same value meets the same fake everywhere."""

import hashlib
import hmac
import re
from collections.abc import Sequence

_DIGIT, _LOWER, _UPPER, _HAN = (
    "0123456789",
    "abcdefghjkmnpqrstuvwxyz",
    "ABCDEFGHJKLMNPQRSTUVWXYZ",
    "甲乙丙丁戊己庚辛",
)
_CHARACTER = re.compile(r"[0-9]|[a-z]|[A-Z]|[\u4e00-\u9fff]")


class Dice:
    """A stream of choices, drawn from HMAC-SHA256 (RFC 2104) of a label and a value under ``key``.

    Args:
        key: the project's secret; without it nobody can try values until one gives the fake.
        label: what the value is, so that equal texts of different types have unrelated fakes.
        value: what is replaced.
        days: by how many days dates of this record are shifted.
    """

    def __init__(self, key: bytes, label: str, value: str, *, days: int = 0):
        self._key, self.days = key, days
        self._seed = f"{label}\0{value}".encode("utf-8", "surrogatepass")
        self._count = 0

    def about(self, label: str, value: str) -> "Dice":
        """The dice of another value under the same key."""
        return Dice(self._key, label, value, days=self.days)

    def number(self, below: int) -> int:
        """One of 0 … below - 1. ``below`` is far smaller than 2^64, so none is likelier to a degree that matters."""
        block = hmac.new(self._key, self._count.to_bytes(4, "big") + self._seed, hashlib.sha256).digest()
        self._count += 1
        return int.from_bytes(block[:8], "big") % below

    def pick(self, choices: Sequence[str]) -> str:
        return choices[self.number(len(choices))]

    def digits(self, count: int) -> str:
        return "".join(str(self.number(10)) for _ in range(count))

    def scrambled(self, value: str) -> str:
        """``value`` with other digits, letters and Chinese characters in the same places."""
        return _CHARACTER.sub(lambda match: self.pick(_alphabet(match[0])), value)


def _alphabet(character: str) -> str:
    if character.isascii():
        return _DIGIT if character.isdigit() else _LOWER if character.islower() else _UPPER
    return _HAN
