"""Copies of records, exact and near, within and across sources and splits.

One pass over the splits keeps a 128-bit hash of every record in memory, and in a temporary file its sketch of 256
bytes; no text stays. Records with equal hashes, or whose sketches are similar enough, form a cluster, and of each
cluster one is kept for all that are like it. A split that is held out wins over one that is trained on and is itself
never changed; then the sources count in the order in which they are named. Records of one row, such as the turns of a
dialogue with ever longer history, are no near duplicates of one another.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.copies.fingerprints import compared, fold
from xinglin.data.copies.sketches import SketchFile, cluster_near, similarity, sketch
from xinglin.data.records import Origin, Record, texts
from xinglin.data.removal import Removal
from xinglin.runtime.progress import progress

NGRAM = 5
LEAST_GRAMS = 10
"""Texts with fewer n-grams have exact copies only: one word more or less makes them another question."""
MOST_CHARACTERS = 1 << 20
"""Longer texts are compared by this much of their beginning, and by their length."""
_CHUNK = 1 << 18
_LEADERS = 64
"""Records of a cluster for which others are removed; what is like none of them stays."""
_EXAMPLES = 20


class Duplicates(Config):
    """What becomes of records that are there more than once."""

    mode: Literal["report", "remove", "off"] = "report"
    """``report`` counts them and changes nothing; ``remove`` keeps one of each cluster."""
    near: bool = True
    """Also find copies with small changes, not only those with the same letters and digits."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Jaccard similarity of the 5-grams (of Chinese characters, of words in other scripts) from which on two
    records are near duplicates."""
    compare: Literal["all", "question"] = "all"
    """``all``: whole dialogues, prompts with their chosen answers. ``question``: only what the user says, so that of
    several answers to one question one is kept."""
    keep: Literal["first", "longest"] = "first"
    """Which record of a source is kept when a cluster has several of it. Sources named earlier come first anyway."""


class SplitFile(NamedTuple):
    """A split as JSON Lines of records."""

    name: str
    path: Path
    held_out: bool = False

    def records(self) -> int:
        """How many it has, by counting lines."""
        with self.path.open("rb") as lines:
            return sum(1 for _ in lines)


class Copy(NamedTuple):
    """A record that is there already."""

    split: str
    line: int
    """0-based, in the split's file."""
    origin: Origin
    of_split: str
    of: Origin
    """The record that is kept."""
    exact: bool

    @property
    def removal(self) -> Removal:
        reason = "exact_duplicate" if self.exact else "near_duplicate"
        return Removal("duplicates", reason, f"of {self.of}")


@dataclass(frozen=True)
class Clusters:
    """Which records say the same. Records are numbered through all splits, line after line."""

    splits: tuple[SplitFile, ...]
    starts: NDArray[np.int64]
    """Number of the first record of each split, and of the one after the last."""
    clusters: NDArray[np.int64]
    """The cluster of each record: the number of its first record."""
    kept: NDArray[np.int64]
    """The record that is kept instead of each; its own number for one that is kept."""
    exact: NDArray[np.bool_]
    """Whether it has all letters and digits in common with that one."""
    files: tuple[str, ...]
    origins: NDArray[np.int32]
    """(records, 2): file, as a place in ``files``, and row."""

    def of(self, split: str) -> NDArray[np.int64]:
        """The cluster of each line of a split."""
        return self.clusters[self._span(split)]

    def copies(self, split: str | None = None) -> Iterator[Copy]:
        """The records to be removed, of one split or of all. None is of a split that is held out."""
        span = self._span(split) if split else slice(0, len(self.kept))
        places = np.arange(span.start, span.stop)
        for number in places[self.kept[span] != places].tolist():
            kept = int(self.kept[number])
            where = (*self._line(number), self.origin(number))
            yield Copy(*where, self._line(kept)[0], self.origin(kept), bool(self.exact[number]))

    def origin(self, number: int) -> Origin:
        file, row = self.origins[number].tolist()
        return Origin(self.files[file], row)

    def _line(self, number: int) -> tuple[str, int]:
        split = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.splits[split].name, number - int(self.starts[split])

    def _span(self, split: str) -> slice:
        place = [each.name for each in self.splits].index(split)
        return slice(int(self.starts[place]), int(self.starts[place + 1]))

    def to_json(self) -> dict[str, Any]:
        """The report: counts, which files copy which, and examples by origin."""
        total: Counter[str] = Counter()
        between: Counter[tuple[str, str]] = Counter()
        across: Counter[tuple[str, str]] = Counter()
        examples = []
        for copy in self.copies():
            removal = copy.removal
            total[removal.reason] += 1
            between[copy.origin.file, copy.of.file] += 1
            across[copy.split, copy.of_split] += 1
            if len(examples) < _EXAMPLES:
                examples.append({"copy": str(copy.origin), "of": str(copy.of), "reason": removal.reason})
        sizes = np.unique(self.clusters, return_counts=True)[1]
        return {
            "records": len(self.clusters),
            "exact": total["exact_duplicate"],
            "near": total["near_duplicate"],
            "clusters": int((sizes > 1).sum()),
            "largest_cluster": int(sizes.max(initial=0)),
            "splits": _pairs(across),
            "files": _pairs(between),
            "examples": examples,
        }


def find_duplicates(splits: Sequence[SplitFile], config: Duplicates) -> Clusters:
    """Read ``splits`` once and cluster their records."""
    from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

    counts = [split.records() for split in splits]
    with SketchFile() as sketches:
        table = _Table(sum(counts), sketches)
        with progress(sum(counts), "looking for copies", interruptible=True) as bar:
            for split in splits:
                for chunk in chunks(read_split(split.path)):
                    table.add(chunk, config)
                    bar.advance(len(chunk))
        starts = np.cumsum([0, *counts])
        held_out = np.repeat(np.array([split.held_out for split in splits], bool), np.array(counts, int))
        exact = clusters = _equal(table.keys)
        order = _Order(table, held_out, config.keep)
        kept = order.best(np.arange(len(exact)), exact)
        if config.near:
            rows = np.flatnonzero((exact == np.arange(len(exact))) & (table.grams >= LEAST_GRAMS))
            clusters = cluster_near(sketches, rows, exact, threshold=config.threshold)
            _keep_near(kept, clusters, exact, order, config.threshold)
    same_row = (table.origins == table.origins[kept]).all(axis=1) & (exact != exact[kept])
    kept = np.where(held_out | same_row, np.arange(len(kept)), kept)
    return Clusters(
        tuple(splits), starts, clusters, kept, exact == exact[kept], tuple(table.files), table.origins
    )


class _Table:
    """What is kept of every record."""

    def __init__(self, count: int, sketches: SketchFile):
        self.keys = np.zeros((count, 2), np.uint64)
        self.sketches = sketches
        self.grams = np.zeros(count, np.int32)
        self.lengths = np.zeros(count, np.int32)
        self.origins = np.zeros((count, 2), np.int32)
        self.files: dict[str, int] = {}
        self._filled = 0

    def add(self, records: Sequence[Record], config: Duplicates) -> None:
        said = [compared(record, config.compare) for record in records]
        rows = slice(self._filled, self._filled + len(said))
        self._filled = rows.stop
        self.lengths[rows] = [len(text) for text in said]
        self.origins[rows] = [
            (self.files.setdefault(record.origin.file, len(self.files)), record.origin.row)
            for record in records
        ]
        folded = fold([text[:MOST_CHARACTERS] for text in said])
        self.keys[rows] = _numbers(folded.keys(len(said)), said, rows.start)
        if config.near:
            grams = folded.units().grams(NGRAM)
            self.grams[rows] = np.bincount(grams.owners, minlength=len(said))
            self.sketches.append(sketch(grams, count=len(said)))


def _numbers(keys: list[bytes], said: list[str], first: int) -> NDArray[np.uint64]:
    """Keys as two numbers. A text of which nothing is left equals no other: it gets its own number."""
    numbers = np.frombuffer(
        b"".join(key or (first + at).to_bytes(16, "little") for at, key in enumerate(keys)), "<u8"
    ).reshape(-1, 2)
    beyond = np.array([max(0, len(text) - MOST_CHARACTERS) for text in said], np.uint64)
    return numbers ^ beyond[:, None]


def _equal(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each key the first row that has it."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    fresh = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])[: len(keys)]
    clusters = np.empty(len(keys), np.int64)
    # lexsort is stable, so that the first of equal keys is the first row.
    clusters[order] = order[fresh][np.cumsum(fresh) - 1]
    return clusters


class _Order(NamedTuple):
    """Which of several records is kept: by held-out split, file, and length or row."""

    table: _Table
    held_out: NDArray[np.bool_]
    keep: Literal["first", "longest"]

    def best(self, rows: NDArray[np.int64], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
        """The best record of the cluster of each of ``rows``; ``clusters`` has one for every record."""
        of = clusters[rows]
        length = -self.table.lengths[rows] if self.keep == "longest" else np.zeros(len(rows))
        order = np.lexsort((rows, length, self.table.origins[rows, 0], ~self.held_out[rows], of))
        first = np.concatenate([[True], of[order][1:] != of[order][:-1]])[: len(rows)]
        best = np.empty_like(rows)
        best[order] = rows[order[first]][np.cumsum(first) - 1]
        return best


def _keep_near(
    kept: NDArray[np.int64],
    clusters: NDArray[np.int64],
    exact: NDArray[np.int64],
    order: _Order,
    threshold: float,
) -> None:
    """Enter into ``kept`` what is kept instead of near copies.

    A cluster may be a chain, in which only neighbours are alike. So its best record is kept for those that are like it
    itself, and then the best of the rest for those like that one.
    """
    rows = np.flatnonzero(np.isin(clusters, np.unique(clusters[clusters != exact])))
    for _ in range(_LEADERS):
        if not len(rows):
            return
        best = order.best(rows, clusters)
        near = exact[rows] == exact[best]
        others = np.flatnonzero(~near)
        near[others] = similarity(order.table.sketches, rows[others], best[others]) >= threshold
        kept[rows[near]] = best[near]
        rows = rows[~near]


def chunks(records: Iterator[Record], *, most: int = sys.maxsize) -> Iterator[list[Record]]:
    """Records in lists of about the same number of characters, and of ``most`` records."""
    for first in records:
        chunk, size = [first], sum(map(len, texts(first)))
        while size < _CHUNK and len(chunk) < most and (record := next(records, None)):
            chunk.append(record)
            size += sum(map(len, texts(record)))
        yield chunk


def _pairs(counts: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"copies_in": left, "kept_in": right, "records": count}
        for (left, right), count in counts.most_common()
    ]
