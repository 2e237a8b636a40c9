"""Token shards: text tokenised once, memory-mapped ever after.

A shard folder holds the sequences end to end:

    tokens.bin     uint16 (vocabularies up to 65,536) or uint32, every token of every sequence
    trained.bin    one bit per token: whether the loss counts its prediction
    offsets.npy    int64, (sequences + 1,): where each sequence begins
    rows.npy       int64, (sequences,): line of the split's JSON Lines file that it came from
    sources.npy    int32, (sequences,): which of the ``sources`` in meta.json that line came from
    weights.bin    float32, for the sequences in weighted.npy only: weights of tokens where not all are 0 or 1
    meta.json      counts, length percentiles, what was too long
    left_out.jsonl lines of the split's file that gave no sequence, with the reason

A preference occupies two neighbouring sequences: the chosen one, then the rejected one (``group`` = 2).
"""

import json
from array import array
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from xinglin.errors import CheckpointError

Ints = npt.NDArray[np.int64]


class Sequence(NamedTuple):
    ids: npt.NDArray[np.int64]
    """(T,) token ids."""
    trained: npt.NDArray[Any]
    """(T,) bool, whether the token's prediction counts, or float32, how much; never at position 0, which nothing
    predicts."""


MAX_SOURCES = 1024
"""Sources that are told apart; what comes after them is ``OTHER``."""
OTHER = "other"
BUFFERED = 256
"""Sequences that are written together."""


class ShardWriter:
    """Appends sequences to a folder; ``close`` makes it readable. As a context manager it closes its files."""

    def __init__(self, folder: Path, *, vocabulary: int, group: int = 1):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.group = group
        self._dtype = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
        self._tokens = (folder / "tokens.bin").open("wb")
        self._trained = (folder / "trained.bin").open("wb")
        self._weights = (folder / "weights.bin").open("wb")
        self._added: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        self._bits = np.zeros(0, dtype=np.bool_)
        # Lists of so many numbers would take four times as much memory.
        self._lengths, self._counts, self._rows, self._sources = (array("q") for _ in range(4))
        self._names: dict[str, int] = {}
        self._weighted = array("q")

    def add(self, ids: npt.NDArray[Any], trained: npt.NDArray[Any], *, row: int, source: str = "") -> None:
        """One sequence, (T,) ids and (T,) mask or weights, made from line ``row``, which came from ``source``."""
        self._added.append((ids, trained))
        self._rows.append(row)
        name = source if source in self._names or len(self._names) < MAX_SOURCES - 1 else OTHER
        self._sources.append(self._names.setdefault(name, len(self._names)))
        if len(self._added) == BUFFERED:
            self._flush()

    def _flush(self) -> None:
        """Write what was added; many sequences at once, since each would cost a dozen calls of numpy."""
        if not self._added:
            return
        first, lengths = len(self._lengths), [len(ids) for ids, _ in self._added]
        ends = np.cumsum(lengths)
        starts = ends - lengths
        weights = np.concatenate([trained for _, trained in self._added], dtype=np.float32)
        weights[starts[ends > starts]] = 0
        mask = weights > 0
        before = np.concatenate([[0], np.cumsum(mask)])
        self._counts.extend((before[ends] - before[starts]).tolist())
        self._lengths.extend(lengths)
        if (weights != mask).any():
            for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=first):
                if (weights[start:end] != mask[start:end]).any():
                    self._weighted.append(number)
                    self._weights.write(weights[start:end].tobytes())
        self._tokens.write(np.concatenate([ids for ids, _ in self._added]).astype(self._dtype).tobytes())
        bits = np.concatenate([self._bits, mask])
        whole = len(bits) // 8 * 8
        self._trained.write(np.packbits(bits[:whole]).tobytes())
        self._bits = bits[whole:]
        self._added.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in (self._tokens, self._trained, self._weights):
            file.close()

    def close(self, **meta: Any) -> dict[str, Any]:
        """Write the index and ``meta.json``; returns what stands in it."""
        self._flush()
        self._trained.write(np.packbits(self._bits).tobytes())
        self.__exit__()
        lengths = np.asarray(self._lengths, dtype=np.int64)
        np.save(self.folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        np.save(self.folder / "counts.npy", np.asarray(self._counts, dtype=np.int64))
        np.save(self.folder / "rows.npy", np.asarray(self._rows, dtype=np.int64))
        np.save(self.folder / "sources.npy", np.asarray(self._sources, dtype=np.int32))
        np.save(self.folder / "weighted.npy", np.asarray(self._weighted, dtype=np.int64))
        record = {
            "dtype": self._dtype.name,
            "group": self.group,
            "sequences": len(lengths),
            "tokens": int(lengths.sum()),
            "trained_tokens": int(sum(self._counts)),
            "lengths": length_percentiles(lengths),
            "sources": list(self._names),
            **meta,
        }
        (self.folder / "meta.json").write_text(
            json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8"
        )
        return record


class Shards:
    """A finished shard folder. Opening it reads the index only."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.group: int = self.meta["group"]
        offsets: Ints = np.load(folder / "offsets.npy")
        self.counts: Ints = np.load(folder / "counts.npy")
        """(sequences,) trained tokens of each."""
        self.rows: Ints = np.load(folder / "rows.npy")
        self.sources: npt.NDArray[np.int32] = np.load(folder / "sources.npy")
        """(sequences,) which of ``meta["sources"]`` each came from."""
        self.lengths: Ints = np.diff(offsets)
        self._starts: Ints = offsets[:-1]
        size = int(offsets[-1])
        dtype = np.dtype(self.meta["dtype"])
        tokens, trained = folder / "tokens.bin", folder / "trained.bin"
        if tokens.stat().st_size != size * dtype.itemsize or trained.stat().st_size != (size + 7) // 8:
            raise CheckpointError(
                f"{folder}: its files are shorter or longer than its index says; delete it, it is made again"
            )
        self._tokens = np.memmap(tokens, dtype=dtype, mode="r") if size else np.zeros(0, dtype)
        self._trained = np.memmap(trained, dtype=np.uint8, mode="r") if size else np.zeros(0, np.uint8)
        self._open_weights()

    def _open_weights(self) -> None:
        weighted: Ints = np.load(self.folder / "weighted.npy")
        self.sums: npt.NDArray[np.float64] = self.counts.astype(np.float64)
        """(sequences,) sum of the weights of each: its trained tokens, unless they differ in weight."""
        self._weights = np.zeros(0, np.float32)
        self._weights_at: Ints = np.full(len(self.rows), -1)
        if len(weighted):
            self._weights = np.memmap(self.folder / "weights.bin", dtype=np.float32, mode="r")
            starts = np.concatenate([[0], np.cumsum(self.lengths[weighted])])
            if len(self._weights) != starts[-1]:
                raise CheckpointError(
                    f"{self.folder}: weights.bin is cut; delete the folder, it is made again"
                )
            self._weights_at[weighted] = starts[:-1]
            self.sums[weighted] = np.add.reduceat(self._weights, starts[:-1], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sequence:
        start = int(self._starts[index])
        end = start + int(self.lengths[index])
        at = int(self._weights_at[index])
        if at >= 0:
            weights = np.array(self._weights[at : at + end - start])
            return Sequence(self._tokens[start:end].astype(np.int64), weights)
        first = start // 8
        bits = np.unpackbits(self._trained[first : (end + 7) // 8])[start - first * 8 : end - first * 8]
        return Sequence(self._tokens[start:end].astype(np.int64), bits.astype(np.bool_))

    def only(self, kept: Ints) -> "Shards":
        """A view of the sequences at these positions; ``meta`` still speaks of all."""
        view = copy(self)
        view.__dict__.pop("shared", None)
        view.lengths, view.counts, view.rows = self.lengths[kept], self.counts[kept], self.rows[kept]
        view.sums, view.sources = self.sums[kept], self.sources[kept]
        view._starts, view._weights_at = self._starts[kept], self._weights_at[kept]
        return view

    def told_apart(self, most: int) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Names of the sources, by trained tokens, and (sequences,) which of them each sequence came from.

        Beyond ``most``, the smallest are one source, ``OTHER``.
        """
        names: list[str] = self.meta["sources"]
        sizes = np.bincount(self.sources, weights=self.counts, minlength=len(names))
        largest = np.argsort(-sizes, kind="stable")
        place = np.empty(len(names), dtype=np.int64)
        place[largest] = np.arange(len(names))
        shown = [_short(names[at], names) for at in largest]
        if len(names) > most:
            shown = [*shown[: most - 1], OTHER]
        return shown, np.minimum(place, most - 1)[self.sources]

    @cached_property
    def shared(self) -> Ints:
        """(sequences,) tokens that each begins with in common with the first sequence of its group."""
        shared = np.zeros(len(self), dtype=np.int64)
        for head in range(0, len(self), self.group):
            for number in range(head + 1, head + self.group):
                shared[number] = shared_tokens(self[head].ids, self[number].ids)
        return shared


def _short(name: str, names: list[str]) -> str:
    """The file name, if it says which of the files is meant."""
    short = Path(name).name
    return short if sum(Path(other).name == short for other in names) == 1 else name


def shared_tokens(head: npt.NDArray[Any], ids: npt.NDArray[Any]) -> int:
    """How many tokens ``ids`` begins with in common with ``head``; at least the last one stays its own."""
    most = max(min(len(head), len(ids) - 1), 0)
    different = head[:most] != ids[:most]
    return int(different.argmax()) if different.any() else most


def length_percentiles(lengths: Ints) -> dict[str, int]:
    """p50, p90, p99 and max of sequence lengths in tokens; zeros for none."""
    if not len(lengths):
        return {"p50": 0, "p90": 0, "p99": 0, "max": 0}
    p50, p90, p99 = np.percentile(lengths, [50, 90, 99], method="higher").astype(int).tolist()
    return {"p50": p50, "p90": p90, "p99": p99, "max": int(lengths.max())}
