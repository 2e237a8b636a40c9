"""What must not be trained on: the items of benchmarks and of held-out splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from xinglin.data.copies.fingerprints import bare, fold
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question, Record

MOST = 0.6
"""Of the options of a question with a short stem."""


class Lengths(NamedTuple):
    """How long n-grams are."""

    characters: int
    """Of texts that are mostly Chinese, Japanese or Korean."""
    words: int
    """Of other texts."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is protected. A text holds it when it has most n-grams of ``text`` and tells it (``told_by``)."""

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
    """Folded texts that a text must have too."""
    choices: tuple[str, ...] = ()
    """Folded options, of which it must have most: other editions of an exam leave one out."""
    whole: bool = True
    """Whether ``text`` tells the item, or is only its longest part, where all parts are short."""

    def told_by(self, folded: str) -> bool:
        """Whether a folded text has what is wanted."""
        found = sum(choice in folded for choice in self.choices)
        return found >= MOST * len(self.choices) and all(part in folded for part in self.wanted)


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
    stem and the right options if it is as long; and else by these and most options, of which long ones need no stem."""
    parts = _parts(record)
    said = [parts.question, *parts.right, *parts.rest]
    folded = fold(said)
    sizes = np.bincount(folded.units().owners, minlength=len(said))
    strings = tuple(folded.strings(len(said)))
    wanted = strings[1 : 1 + len(parts.right)]
    n = lengths.characters if 2 * sum(map(_ideographs, strings)) >= sizes.sum() else lengths.words
    rest = "\n".join(parts.rest)
    if sizes[0] >= n:
        begins = isinstance(record, Question) and sizes[0] < 2 * n
        return Item(id, record.origin, parts.question, rest, n, wanted if begins else ())
    if not isinstance(record, Question):
        return Item(id, record.origin, f"{parts.question}\n{rest}", "", n) if sizes.sum() >= n else None
    sure = sizes[: 1 + len(wanted)]
    longest = int((sure if sure.max() >= n // 2 else sizes).argmax())
    if sizes[longest] < n // 2:
        return None
    choices = strings[1 + len(wanted) :]
    # 正确的是 tells nothing beside long options, and copies leave it out.
    telling = sizes[0] >= n // 2 or sizes[1 + len(wanted) :].sum() < 2 * n
    needed = (strings[0], *wanted) if telling else wanted
    return Item(id, record.origin, said[longest], "", n // 2, needed, choices, whole=False)


class _Parts(NamedTuple):
    question: str
    rest: list[str]
    right: list[str]
    """The right options."""


def _parts(record: Record) -> _Parts:
    if isinstance(record, Document):
        return _Parts(bare(record.text), [], [])
    if isinstance(record, Question):
        right = [record.options[letter] for letter in record.answer if letter in record.options]
        return _Parts(bare(record.question), list(record.options.values()), right)
    if isinstance(record, Preference):
        return _Parts(_said(record.prompt, "user"), [record.chosen, record.rejected], [])
    assert isinstance(record, Conversation)
    return _Parts(_said(record.messages, "user"), [_said(record.messages, "assistant")], [])


def _said(messages: Sequence[Message], role: str) -> str:
    return "\n".join(bare(message.content) for message in messages if message.role == role)


def _ideographs(text: str) -> int:
    return sum(character >= "\u2e80" for character in text)
