"""What a text says, as numbers that do not depend on how it was written down or published.

A text loses its wrappers (``问题：…回答：``), is folded character by character (NFKC, lower case, traditional Chinese
to simplified, no white space or punctuation) and becomes *units*: each Chinese, Japanese or Korean character is one,
each word or number of another script is one. So a run of n units is an n-gram of characters in Chinese, of words in
English, and what one would expect in "二甲双胍 500mg bid". All of it is done on arrays of many texts at once, with
hashes that are the same in every process.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xinglin.data.records import Conversation, Document, Message, Preference, Rating, Record, spoken

Hashes = NDArray[np.uint64]
Compare = Literal["all", "question"]

_IDEOGRAPHS = 0x2E80
"""From here on a character is a unit of its own."""
_SEVERAL = np.uint32(0xFFFFFFFF)
"""Marks characters that become several, or that join the one before."""
_BASE = 0x9E3779B97F4A7C15
_LETTER_BASE = 0xD6E8FEB86659FD93
_LONGEST_WORD = 64

_MARKER = re.compile(
    r"^[ \t\u3000]*+(?:</?s>[ \t]*+)?(?:#+ *+)?(?:"
    r"(?:[问問][题題]|提?[问問]|回?答|病人|患者|[医醫]生|用[户戶]|助手)[ \t]*[:：]"
    r"|[<\[]?(?:human|assistant|user|bot|doctor|patient|question|answer|q|a|instruction|input|output|response)"
    r"(?:[>\]][ \t]*[:：]?|[ \t]*[:：]))",
    re.IGNORECASE | re.MULTILINE,
)
_PREFIX = re.compile(
    r"\s*(?:"
    r"(?:[现現]在)?你是一[个個名位][^，。,：:\n]{0,20}[医醫]生[^：:\n]{0,40}[:：]"
    r"|if you are a doctor, please answer the medical questions based on the patient's description\.?"
    r"|below is an instruction that describes a task[^\n]{0,120}\n"
    r")",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"要求[:：]\s*1\s*[.、．]\s*[请請].{0,300}\Z", re.DOTALL)


def bare(text: str) -> str:
    """``text`` without what republished copies are wrapped in: names of the speakers at the beginning of a line,
    instructions that are the same for a whole data set, ``要求：1. 请…`` at the end."""
    head = _PREFIX.match(text)
    text = text[head.end() :] if head else text
    if "要求" in text:
        text = _SUFFIX.sub("", text)
    return _MARKER.sub("", text)


def compared(record: Record, compare: Compare = "all") -> str:
    """The text by which a record is known, bare: a document; what user and assistant say and call, and how it is
    rated; a prompt and its chosen answer; a question and its options in any order. ``question`` leaves answers out.
    System messages, tools and their results never count."""
    if isinstance(record, Document):
        return bare(record.text)
    if isinstance(record, Conversation):
        said = _said(record.messages, compare)
        if isinstance(record, Rating):
            said.append("good" if record.good else "bad")
    elif isinstance(record, Preference):
        said = [*_said(record.prompt, compare), *(spoken(record.answers[0]) if compare == "all" else ())]
    else:
        said = [record.question, *sorted(record.options.values())]
    return "\n".join(map(bare, said))


def _said(messages: tuple[Message, ...], compare: Compare) -> list[str]:
    roles = ("user",) if compare == "question" else ("user", "assistant")
    return [text for message in messages if message.role in roles for text in spoken(message)]


class Folded(NamedTuple):
    """The characters of several texts that are left after folding, lying end to end."""

    characters: NDArray[np.uint32]
    places: NDArray[np.int64]
    """Where each stood in all texts joined: two that were neighbours have consecutive places."""
    owners: NDArray[np.int64]
    """The text that each belongs to, ascending."""

    def keys(self, count: int) -> list[bytes]:
        """A 128-bit hash of each of the ``count`` texts; b"" for one of which nothing is left."""
        return [
            hashlib.blake2b(part, digest_size=16).digest() if part else b"" for part in self._parts(count)
        ]

    def strings(self, count: int) -> list[str]:
        """What is left of each of the ``count`` texts."""
        return [part.decode("utf-32-le", "surrogatepass") for part in self._parts(count)]

    def _parts(self, count: int) -> list[bytes]:
        ends = np.searchsorted(self.owners, np.arange(count + 1)).tolist()
        data = self.characters.tobytes()
        return [data[4 * start : 4 * end] for start, end in pairwise(ends)]

    def units(self) -> "Units":
        """The characters and words of the texts."""
        hashes = self.characters.astype(np.uint64)
        spelt = np.flatnonzero(self.characters < _IDEOGRAPHS)
        if not len(spelt):
            return Units(hashes, self.owners)
        begins = np.ones(len(spelt), bool)
        begins[1:] = (np.diff(self.places[spelt]) != 1) | (np.diff(self.owners[spelt]) != 0)
        starts = np.flatnonzero(begins)
        position = np.arange(len(spelt)) - np.repeat(starts, np.diff(starts, append=len(spelt)))
        letters = hashes[spelt] * _letter_powers()[np.minimum(position, _LONGEST_WORD - 1)]
        hashes[spelt[starts]] = np.add.reduceat(letters, starts)
        kept = np.ones(len(hashes), bool)
        kept[spelt[~begins]] = False
        return Units(hashes[kept], self.owners[kept])


class Units(NamedTuple):
    """The units of several texts in order, each as a hash (not mixed: bits are not random)."""

    hashes: Hashes
    owners: NDArray[np.int64]

    def grams(self, n: int) -> "Units":
        """Every run of ``n`` units within one text, as a mixed 64-bit hash. A text of fewer units has none."""
        if len(self.hashes) < n:
            return Units(np.zeros(0, np.uint64), np.zeros(0, np.int64))
        whole = self.owners[: len(self.owners) - n + 1] == self.owners[n - 1 :]
        return Units(mixed(_rolled(self.hashes, n)[whole]), self.owners[n - 1 :][whole])


def fold(texts: Sequence[str]) -> Folded:
    """Fold ``texts``: NFKC, lower case, traditional Chinese characters simplified, letters and digits only."""
    folded, owners = _translated(texts)
    if (folded == _SEVERAL).any():
        wide = set(np.unique(owners[folded == _SEVERAL]).tolist())
        texts = [_normal(text) if at in wide else text for at, text in enumerate(texts)]
        folded, owners = _translated(texts)
        folded[folded == _SEVERAL] = 0
    places = np.flatnonzero(folded)
    return Folded(folded[places], places, owners[places])


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of a value moves every bit of the hash."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _rolled(units: Hashes, n: int) -> Hashes:
    """Polynomial hashes of all runs of ``n``, each made of two runs of half the length."""
    if n == 1:
        return units
    half = n // 2
    runs = _rolled(units, half)
    runs = runs[:-half] * _power(half) + runs[half:]
    return runs[:-1] * _power(1) + units[n - 1 :] if n % 2 else runs


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_BASE, exponent, 2**64))


@functools.cache
def _letter_powers() -> Hashes:
    return np.array([pow(_LETTER_BASE, place, 2**64) for place in range(_LONGEST_WORD)], np.uint64)


def _translated(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    owners = np.repeat(np.arange(len(texts)), np.fromiter(map(len, texts), np.int64, len(texts)))
    return _table().take(codes), owners


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())


@functools.cache
def _table() -> NDArray[np.uint32]:
    """Code point -> the character it becomes, 0 for none. Beyond the first two planes are ideographs only."""
    table = np.arange(0x110000, dtype=np.uint32)
    table[:0x20000] = [_folded(chr(code)) for code in range(0x20000)]
    table[0xE0000:] = 0
    return table


def _folded(character: str) -> int:
    if unicodedata.combining(character):
        return int(_SEVERAL)
    left = [part for part in _normal(character) if part.isalnum()]
    if len(left) > 1:
        return int(_SEVERAL)
    return ord(_simplified().get(left[0], left[0])) if left else 0


@functools.cache
def _simplified() -> Mapping[str, str]:
    """Traditional character -> simplified one. One character at a time: 乾 becomes 干 wherever it stands, which is
    wrong in 乾坤 and right for telling that two texts are the same."""
    lines = (files("xinglin.data.copies") / "simplified.txt").read_text(encoding="utf-8").splitlines()
    return {old: new for line in lines if not line.startswith("#") for old, new in line.split()}
