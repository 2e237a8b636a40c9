"""Embeddings: where records lie, so that like ones are near. One file each.

An embedding ``NAME.py`` has

    Config     its options, with ``name: Literal["NAME"]``: an ``EmbeddingConfig``
    embed(config: Config, context: Context, records: Records) -> Points
               (N, d) float32, every row of length 1 (or 0, where there is nothing to tell); the same on every run
and may have
    RECORDS    the kinds of record that it can read; all of them if there is none

``context`` is that of scores. What comes back is kept by settings, model and the split's content.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xinglin.config.base import Config
from xinglin.data.records import Record
from xinglin.selection.geometry import Points

PACKAGE = "xinglin.selection.embeddings"
CHUNK = 256


class EmbeddingConfig(Config):
    """What every embedding has."""

    name: str
    """Which embedding: a file in ``selection/embeddings/``."""
    text: Literal["all", "question"] = "all"
    """What of a record counts: all that is said, or what the user says."""


@dataclass(frozen=True)
class Records:
    """The records of a split, to be read from the beginning as often as needed."""

    read: Callable[[], Iterator[Record]]
    count: int
    advance: Callable[[int], None] = lambda done: None
    """Told how many more are embedded."""

    def chunks(self) -> Iterator[tuple[slice, list[Record]]]:
        """Their places, and so many records at a time."""
        start, chunk = 0, []
        for record in self.read():
            chunk.append(record)
            if len(chunk) == CHUNK:
                yield slice(start, start + CHUNK), chunk
                start, chunk = start + CHUNK, []
        if chunk:
            yield slice(start, start + len(chunk)), chunk


def unit(points: Points) -> Points:
    """``points`` with rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)
