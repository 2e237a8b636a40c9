"""Which of many texts are nearly alike: sketches of their n-grams, and the pairs whose sketches agree.

A sketch (fast similarity sketching, Dahlgaard, Knudsen and Thorup 2017, arXiv 1704.04370) is what MinHash is: the
share of equal places in two sketches estimates the Jaccard similarity of the two sets of n-grams. But each n-gram is
hashed into one place and not into all of them, so a sketch costs hardly more than reading the text.
"""

import mmap
import tempfile
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from xinglin.data.copies.fingerprints import Hashes, Units, mixed

PLACES = 128
"""Of a sketch, 2 bytes each; the standard error of a similarity s is about sqrt(s (1 - s) / PLACES)."""
RECALL = 0.99
"""With this probability a pair that is just as similar as the threshold becomes a candidate."""
_EMPTY = np.uint32(0xFFFFFFFF)
_VALUE_BITS = 24
_VALUE = np.uint32(2**_VALUE_BITS - 2)
_TO_VALUE = np.uint64(33)
_TO_PLACE = np.uint64(57)
_FACTORS = mixed(np.arange(2 * PLACES, dtype=np.uint64)) | np.uint64(1)
_WINDOW = 16
"""Neighbours in a bucket that a text is compared with: a bucket of many that only share a template stays cheap."""
_PAIRS = 1 << 13
_ROWS = 1 << 14
"""Sketches that are read at a time."""

Sketches = NDArray[np.uint16]
Numbers = NDArray[np.int64]


class SketchFile:
    """The sketches of many texts in a file without a name: in memory are only those being read. A context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by __exit__
        self._map: mmap.mmap | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._map:
            self._map.close()
        self._file.close()

    def append(self, sketches: Sketches) -> None:
        """Add those of further texts; all are added before the first is read."""
        self._file.write(sketches.tobytes())

    def __getitem__(self, rows: Numbers) -> Sketches:
        if self._map is None:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        found: Sketches = np.frombuffer(self._map, np.uint16).reshape(-1, PLACES)[rows]
        self._map.madvise(mmap.MADV_DONTNEED)
        return found


def sketch(grams: Units, *, count: int) -> Sketches:
    """Sketches (count, PLACES) of the sets of n-grams of ``count`` texts; all places of an empty set are equal.

    In each turn every n-gram falls into a random place with a random value; the smallest wins, and one of an earlier
    turn is smaller. From turn PLACES on all fall into the same place, so that few n-grams fill a sketch too. Of each
    value 16 bits are kept (b-bit minwise hashing, Li and König 2010, arXiv 0910.3349): different ones are equal once
    in 65,536.
    """
    table = np.full(count * PLACES, _EMPTY, np.uint32)
    hashes, bases = grams.hashes, grams.owners * PLACES
    for turn in range(2 * PLACES):
        drawn = hashes * _FACTORS[turn]
        places = (drawn >> _TO_PLACE).view(np.int64) if turn < PLACES else np.full(len(hashes), turn - PLACES)
        places += bases
        values = (drawn >> _TO_VALUE).astype(np.uint32)
        values &= _VALUE
        values |= np.uint32(turn << _VALUE_BITS)
        np.minimum.at(table, places, values)
        unfilled = (table.reshape(count, PLACES) == _EMPTY).any(axis=1)[bases // PLACES]
        if 2 * np.count_nonzero(unfilled) < len(unfilled):
            hashes, bases = hashes[unfilled], bases[unfilled]
        if not len(hashes):
            break
    return (table >> np.uint32(1)).astype(np.uint16).reshape(count, PLACES)


def similarity(sketches: Sketches | SketchFile, left: Numbers, right: Numbers) -> NDArray[np.float64]:
    """The estimated Jaccard similarity of the texts ``left[i]`` and ``right[i]``."""
    parts = [
        (sketches[left[at : at + _PAIRS]] == sketches[right[at : at + _PAIRS]]).mean(axis=1)
        for at in range(0, len(left), _PAIRS)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def band_size(threshold: float) -> int:
    """The most places that two texts may have to share in one of the bands of a sketch, so that RECALL holds."""
    for size in range(PLACES, 1, -1):
        if 1 - (1 - threshold**size) ** (PLACES // size) >= RECALL:
            return size
    return 1


def cluster_near(
    sketches: Sketches | SketchFile, rows: Numbers, clusters: Numbers, *, threshold: float
) -> Numbers:
    """``clusters`` (the smallest row of the cluster of each) with near duplicates among ``rows`` joined.

    Locality-sensitive hashing: texts that agree in all places of a band are candidates, and joined if their
    sketches are as similar as ``threshold``.
    """
    size = band_size(threshold)
    for start in range(0, PLACES - size + 1, size):
        for left, right in _neighbours(_band(sketches, rows, start, size)):
            left, right = rows[left], rows[right]
            apart = clusters[left] != clusters[right]
            left, right = left[apart], right[apart]
            near = similarity(sketches, left, right) >= threshold
            clusters = join(clusters, left[near], right[near])
    return clusters


def join(clusters: Numbers, left: Numbers, right: Numbers) -> Numbers:
    """``clusters`` with those of ``left[i]`` and ``right[i]`` made one. Clusters bear the name of their smallest
    row; so the result does not depend on the order of the pairs."""
    clusters = clusters.copy() if len(left) else clusters
    while (clusters[left] != clusters[right]).any():
        names = clusters[left], clusters[right]
        np.minimum.at(clusters, np.maximum(*names), np.minimum(*names))
        while ((shorter := clusters[clusters]) != clusters).any():
            clusters = shorter
    return clusters


def _band(sketches: Sketches | SketchFile, rows: Numbers, start: int, size: int) -> Hashes:
    """A hash of the places of one band, for each of ``rows``."""
    bands = np.zeros(len(rows), np.uint64)
    for at in range(0, len(rows), _ROWS):
        part = sketches[rows[at : at + _ROWS]]
        for place in range(start, start + size):
            bands[at : at + _ROWS] = mixed(bands[at : at + _ROWS] + part[:, place])
    return bands


def _neighbours(band: Hashes) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of texts with the same hash, each with its next few in the bucket."""
    order = np.argsort(band, kind="stable")
    band = band[order]
    alike = np.flatnonzero(band[1:] == band[:-1])
    for shift in range(1, _WINDOW + 1):
        if not len(alike):
            return
        yield order[alike], order[alike + shift]
        alike = alike[alike + shift + 1 < len(band)]
        alike = alike[band[alike + shift + 1] == band[alike]]
