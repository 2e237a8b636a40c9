"""Contiguous blocks: rows of tokens joined end to end and cut to one length, whatever begins or ends there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Row:
    ids: npt.NDArray[Any]
    """(T,) token ids."""
    weights: npt.NDArray[np.float32]
    """(T,) how much each token's prediction counts."""
    number: int
    """Line of the split's file where it begins."""
    source: str
    """Where that line came from."""

    def __len__(self) -> int:
        return len(self.ids)


class Blocks:
    """Collects rows until they fill blocks of ``tokens``."""

    def __init__(self, tokens: int):
        self.tokens = tokens
        self._waiting: list[Row] = []
        self._size = 0

    def add(self, row: Row) -> Iterator[Row]:
        """The blocks that ``row`` completes."""
        self._waiting.append(row)
        self._size += len(row)
        if self._size < self.tokens:
            return
        # Where each block begins decides which line it is said to come from.
        starts = np.cumsum([0, *map(len, self._waiting)])
        ids = np.concatenate([each.ids for each in self._waiting])
        weights = np.concatenate([each.weights for each in self._waiting])
        whole = self._size // self.tokens * self.tokens
        for at in range(0, whole, self.tokens):
            first = self._waiting[int(np.searchsorted(starts, at, side="right")) - 1]
            cut = slice(at, at + self.tokens)
            yield Row(ids[cut], weights[cut], first.number, first.source)
        self._waiting = [replace(row, ids=ids[whole:], weights=weights[whole:])] if whole < self._size else []
        self._size -= whole

    def rest(self) -> Iterator[Row]:
        """The last block, which may be shorter."""
        if self._size:
            ids = np.concatenate([each.ids for each in self._waiting])
            weights = np.concatenate([each.weights for each in self._waiting])
            yield replace(self._waiting[0], ids=ids, weights=weights)
