"""What must not be trained on: the items of benchmarks and of held-out splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from xinglin.data.fingerprints import bare, fold
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question, Record


class Lengths(NamedTuple):
    """How long n-grams are."""

    characters: int
    """Of texts that are mostly Chinese, Japanese or Korean."""
    words: int
    """Of other texts."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is protected. A text holds it when it holds most n-grams of ``text``, and all of ``wanted``."""

    id: str
    """``name:line``, as evaluation names its items."""
    origin: Origin
    text: str
    """The question; with the answer, where that alone is too short."""
    rest: str
    """The answer, or the options: what a training text may be a part of."""
    n: int
    """Length of the n-grams."""
    wanted: tuple[str, ...] = ()
    """Folded texts."""
    whole: bool = True
    """Whether ``text`` tells the item, or is only the longest part of several short ones, all of them wanted."""


@dataclass(frozen=True, slots=True)
class Protected:
    """The items of a benchmark or a held-out split."""

    name: str
    items: tuple[Item, ...]
    too_short: int
    """Records that cannot be told from ordinary text."""

    @classmethod
    def from_records(cls, name: str, records: Iterable[Record], *, lengths: Lengths) -> Self:
        """Items of ``records``, which are numbered from 1 as lines of the split ``name``."""
        made = [_item(f"{name}:{line}", record, lengths) for line, record in enumerate(records, start=1)]
        items = tuple(item for item in made if item)
        return cls(name, items, len(made) - len(items))


def _item(id: str, record: Record, lengths: Lengths) -> Item | None:
    """An exam question is told by its stem if that is twice as long as an n-gram, for others begin alike; by the
    stem and the right options if it is as long; and else only by all that it consists of."""
    question, rest, right = _parts(record)
    folded = fold([question, *rest])
    sizes = np.bincount(folded.units().owners, minlength=1 + len(rest))
    strings = folded.strings(1 + len(rest))
    characters = 2 * sum(map(_ideographs, strings)) >= sizes.sum()
    n = lengths.characters if characters else lengths.words
    joined = "\n".join(rest)
    if sizes[0] >= n:
        short = isinstance(record, Question) and sizes[0] < 2 * n
        return Item(
            id, record.origin, question, joined, n, tuple(fold(right).strings(len(right))) if short else ()
        )
    if not isinstance(record, Question):
        return Item(id, record.origin, f"{question}\n{joined}", "", n) if sizes.sum() >= n else None
    longest = int(sizes.argmax())
    if sizes[longest] < n // 2:
        return None
    return Item(id, record.origin, [question, *rest][longest], "", n // 2, tuple(strings), whole=False)


def _parts(record: Record) -> tuple[str, list[str], list[str]]:
    """The question, what belongs to it, and the right options."""
    if isinstance(record, Document):
        return bare(record.text), [], []
    if isinstance(record, Question):
        right = [record.options[letter] for letter in record.answer if letter in record.options]
        return bare(record.question), list(record.options.values()), right
    if isinstance(record, Preference):
        return _said(record.prompt, "user"), [record.chosen, record.rejected], []
    assert isinstance(record, Conversation)
    return _said(record.messages, "user"), [_said(record.messages, "assistant")], []


def _said(messages: Sequence[Message], role: str) -> str:
    return "\n".join(bare(message.content) for message in messages if message.role == role)


def _ideographs(text: str) -> int:
    return sum(character >= "\u2e80" for character in text)
