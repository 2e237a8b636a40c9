"""Leaks: training records that hold items of benchmarks or held-out splits, or are parts of such items.

A record holds an item when it has at least the share ``containment`` of the n-grams of its question (arXiv
2005.14165, appendix C, counts single n-grams; a share spares what only begins alike). What is looked for in exam
questions is told in ``protected.py``. One pass over the training text; in memory are the items alone.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.copies.containment import Index
from xinglin.data.copies.duplicates import SplitFile, chunks
from xinglin.data.copies.fingerprints import compared, fold
from xinglin.data.copies.protected import Item, Lengths, Protected
from xinglin.data.records import Origin, Preference, Record
from xinglin.data.removal import Removal
from xinglin.data.sources import Source, files, read
from xinglin.runtime import atomic
from xinglin.runtime.progress import progress

FILE = "leaks.jsonl"
HELD_OUT = "held_out"
_PIECE = 1 << 19
_OVERLAP = 1 << 14
_EXAMPLES = 20


class Leaks(Config):
    """What becomes of training records that hold items of benchmarks."""

    mode: Literal["report", "remove", "off"] = "report"
    """``report`` counts them and changes nothing; ``remove`` takes them out of the splits that are trained on."""
    against: Annotated[list[str], Field(min_length=1)] = Field(default=[HELD_OUT])
    """What is protected: ``held_out`` for the held-out splits of this stage, and files or folders of benchmarks."""
    characters: Annotated[int, Field(ge=6, le=50)] = 13
    """Length of n-grams in Chinese, Japanese and Korean text."""
    words: Annotated[int, Field(ge=4, le=50)] = 8
    """Length of n-grams in other text."""
    containment: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The share of an item's n-grams from which on a record holds it, and of a record's for it to be part of one."""

    @property
    def paths(self) -> list[str]:
        """The files and folders in ``against``."""
        return [name for name in self.against if name != HELD_OUT]

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.characters, self.words)


class Leak(NamedTuple):
    """A record and a protected item that it holds or is part of."""

    split: str
    line: int
    """0-based, in the split's file."""
    origin: Origin
    item: Item
    containment: float
    inside: float
    """The share of the record that the item holds."""

    @property
    def removal(self) -> Removal:
        share = f"{max(self.containment, self.inside):.2f}"
        reason = "holds_benchmark_item" if self.containment >= self.inside else "part_of_benchmark_item"
        return Removal("leaks", reason, f"{self.item.id} ({self.item.origin}), {share}")

    def to_json(self) -> dict[str, Any]:
        return {
            "item": self.item.id,
            "item_origin": str(self.item.origin),
            "split": self.split,
            "line": self.line + 1,
            "origin": str(self.origin),
            "containment": round(self.containment, 3),
            "inside": round(self.inside, 3),
        }


@dataclass(frozen=True)
class LeakReport:
    """All leaks into some splits, in the order of their records."""

    protected: tuple[Protected, ...]
    untold: int
    """Items that share all their n-grams with many others, so that they cannot be found."""
    records: int
    leaks: tuple[Leak, ...]

    def removals(self, split: str) -> dict[int, Removal]:
        """Line (0-based) -> why it is to be removed, for one split."""
        found = [leak for leak in self.leaks if leak.split == split]
        worst = {line: max(of, key=_strength) for line, of in groupby(found, key=lambda leak: leak.line)}
        return {line: leak.removal for line, leak in worst.items()}

    def to_json(self) -> dict[str, Any]:
        """The summary; rows by origin only."""
        protected = {
            each.name: {"items": len(each.items), "too_short": each.too_short} for each in self.protected
        }
        rows = [leak.to_json() for leak in self.leaks]
        return {"items_untold": self.untold, **summary(rows, protected, records=self.records)}

    def write(self, path: Path) -> None:
        """Write ``leaks.jsonl``: one line for each leak, as ``Leak.to_json`` makes it."""
        lines = (json.dumps(leak.to_json(), ensure_ascii=False) + "\n" for leak in self.leaks)
        atomic.write_text(path, "".join(lines))


def summary(
    rows: Sequence[Mapping[str, Any]], protected: Mapping[str, Mapping[str, int]], *, records: int
) -> dict[str, Any]:
    """What rows of ``leaks.jsonl`` come to, as the card and the report have it.

    Args:
        protected: name -> its numbers of ``items`` and of those ``too_short``.
        records: that are trained on.
    """
    leaked = Counter(item.rpartition(":")[0] for item in {row["item"] for row in rows})
    return {
        "records": records,
        "records_with_leaks": len({(row["split"], row["line"]) for row in rows}),
        "protected": {name: {**each, "leaked": leaked[name]} for name, each in protected.items()},
        "examples": [*rows[:_EXAMPLES]],
    }


def leaked_items(path: Path) -> dict[str, float]:
    """Item -> the highest containment of all its leaks (or of a record inside it), from a ``leaks.jsonl``."""
    worst: dict[str, float] = {}
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            share = max(row["containment"], row["inside"])
            worst[row["item"]] = max(share, worst.get(row["item"], 0.0))
    return worst


def load_protected(config: Leaks, splits: Sequence[SplitFile], quarantine: Quarantine) -> list[Protected]:
    """What ``config.against`` names: the held-out ones of ``splits``, and files of benchmarks.

    Raises:
        DataError: a file of which no row can be read.
    """
    from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

    made = []
    for name in config.against:
        if name != HELD_OUT:
            made.append(Protected.from_records(name, _records(name, quarantine), lengths=config.lengths))
            continue
        made += [
            Protected.from_records(split.name, read_split(split.path), lengths=config.lengths)
            for split in splits
            if split.held_out
        ]
    return made


def _records(path: str, quarantine: Quarantine) -> Iterator[Record]:
    for file in files(Source(path=path)):
        yield from read(Source(path=str(file)), kind=None, account=SourceAccount(), quarantine=quarantine)


def find_leaks(splits: Sequence[SplitFile], protected: Sequence[Protected], config: Leaks) -> LeakReport:
    """Read the splits that are not held out once, and compare each record with all items."""
    from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

    indexes = [Index(list(items)) for items in _alike(protected)]
    searched = [split for split in splits if not split.held_out]
    records = sum(split.records() for split in searched)
    leaks: list[Leak] = []
    with progress(records, "looking for leaks", interruptible=True) as bar:
        for split in searched if indexes else ():
            line = 0
            for chunk in chunks(read_split(split.path)):
                leaks += _leaks(chunk, split.name, line, indexes, config)
                line += len(chunk)
                bar.advance(len(chunk))
    return LeakReport(tuple(protected), sum(index.untold for index in indexes), records, tuple(leaks))


def _alike(protected: Sequence[Protected]) -> Iterator[list[Item]]:
    """All items, those with one length of n-grams together."""
    key = lambda item: (item.n, item.whole)
    items = sorted((item for each in protected for item in each.items), key=key)
    yield from (list(group) for _, group in groupby(items, key=key))


def _leaks(
    records: Sequence[Record], split: str, first: int, indexes: Sequence[Index], config: Leaks
) -> list[Leak]:
    pieces = [
        (at, piece)
        for at, record in enumerate(records)
        for text in _searched(record)
        for piece in _pieces(text)
    ]
    folded = fold([piece for _, piece in pieces])
    units = folded.units()
    strings: list[str] | None = None
    found: dict[tuple[int, str], Leak] = {}
    for index in indexes:
        hits = index.hits(units, count=len(pieces))
        strong = (hits.containment >= config.containment) | (hits.inside >= config.containment)
        for text, number, containment, inside in zip(
            *(column[strong].tolist() for column in hits), strict=True
        ):
            item, at = index.items[number], pieces[text][0]
            strings = strings or folded.strings(len(pieces))
            containment = containment if item.told_by(strings[text]) else 0.0
            inside = inside if item.whole else 0.0
            leak = Leak(split, first + at, records[at].origin, item, containment, inside)
            if _strength(leak) >= config.containment:
                found[at, item.id] = max(leak, found.get((at, item.id), leak), key=_strength)
    return sorted(found.values(), key=lambda leak: (leak.line, leak.item.id))


def _strength(leak: Leak) -> float:
    return max(leak.containment, leak.inside)


def _searched(record: Record) -> list[str]:
    """The text by which a record is known; of a preference also the prompt with the rejected answer."""
    if not isinstance(record, Preference):
        return [compared(record)]
    other = record.changed(record.prompt, *reversed(record.answers))
    return [compared(record), compared(other)]


def _pieces(text: str) -> list[str]:
    """A long text in pieces that overlap by more than an item, so that memory is bounded."""
    if len(text) <= _PIECE:
        return [text]
    return [text[at : at + _PIECE] for at in range(0, len(text) - _OVERLAP, _PIECE - _OVERLAP)]
