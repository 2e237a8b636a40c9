"""Scores of a split, each computed once: kept by what decides them, so that choosing anew or going on is free."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xinglin.data.prompts import EXAM
from xinglin.data.records import Record
from xinglin.errors import Interrupted, ModelError
from xinglin.runtime.progress import progress
from xinglin.selection.geometry import Floats
from xinglin.selection.scores import Score, Unscored, Value

BLOCK = 256
"""Records that are scored, and kept, at a time."""


class Scored(NamedTuple):
    """A score of all records of a split."""

    values: Floats
    """(N,) nan where there is none."""
    unscored: dict[int, Unscored]
    """Records that could not be read."""
    computed: int
    """How many were not known before."""


def record_key(record: Record) -> bytes:
    """A hash of what a record says, wherever it came from."""
    row = record.to_json()
    said = {key: value for key, value in row.items() if key not in ("origin", "meta")}
    text = json.dumps([said, record.meta.get(EXAM)], ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Ledger:
    """The file of known values of one score by one model; a record that is there twice is scored once."""

    def __init__(self, path: Path):
        self.path = path
        self._known = dict(_read(path))

    def score(
        self,
        records: Iterator[Record],
        count: int,
        open_score: Callable[[], Score],
        *,
        label: str,
        stop_requested: Callable[[], bool],
    ) -> Scored:
        """The values of ``count`` records; ``open_score`` is called when one is not known.

        Raises:
            Interrupted: a stop was requested; finished blocks are kept.
            ModelError: a value is no finite number.
        """
        values, unscored, computed = np.full(count, np.nan), {}, 0
        load, start = cache(open_score), 0
        with progress(count, label) as bar:
            while block := list(islice(records, BLOCK)):
                keys = [record_key(record) for record in block]
                fresh = {
                    key: record for key, record in zip(keys, block, strict=True) if key not in self._known
                }
                if fresh:
                    if stop_requested():
                        raise Interrupted
                    self._add(list(fresh), load()(list(fresh.values())))
                    computed += len(fresh)
                for index, key in enumerate(keys, start):
                    value = self._known[key]
                    if isinstance(value, Unscored):
                        unscored[index] = value
                    elif value is not None:
                        values[index] = value
                start += len(block)
                bar.advance(len(block))
        return Scored(values, unscored, computed)

    def _add(self, keys: Sequence[bytes], values: Sequence[Value]) -> None:
        for value in values:
            if isinstance(value, float) and not np.isfinite(value):
                raise ModelError(f"{self.path.stem}: a score is {value}, so the model's numbers are broken")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps([key.hex(), value]) + "\n" for key, value in zip(keys, values, strict=True))
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self._known |= dict(zip(keys, values, strict=True))


def _read(path: Path) -> Iterator[tuple[bytes, Value]]:
    """What was kept; what a crash left after the last whole line is cut off the file."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(whole)
                return
            whole += len(line)
            key, value = json.loads(line)
            yield bytes.fromhex(key), Unscored(*value) if isinstance(value, list) else value
