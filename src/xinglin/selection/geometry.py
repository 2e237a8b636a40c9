"""Points that cover others, and clusters of them: k-center, facility location, k-means, the same on every run.

Points are (N, d) float32; distances are Euclidean. Both keep O(N) beside the points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
BLOCK = 1 << 14
"""Points whose distances to centres exist at one time."""
CENTRES = 256
"""Centres that are added at one time."""


def medoid(points: Points, among: Mask) -> int:
    """The one of the points ``among`` with the smallest sum of squared distances to all of those: it is the nearest
    to their mean."""
    centre = points[among].mean(axis=0, dtype=np.float64).astype(np.float32)
    return int(np.flatnonzero(among)[squared_distances(points[among], centre[None])[:, 0].argmin()])


def squared_distances(points: Points, centres: Points) -> npt.NDArray[np.float32]:
    """(N, K)."""
    lengths = np.einsum("nd,nd->n", points, points)[:, None]
    return np.maximum(0, lengths - 2 * points @ centres.T + np.einsum("kd,kd->k", centres, centres))


class Cover:
    """How far every point is from the nearest centre, while centres are added (Gonzalez 1985)."""

    def __init__(self, points: Points):
        self._points = points
        self._nearest = np.full(len(points), np.inf, np.float32)

    def add(self, centres: Sequence[int]) -> None:
        """Make points centres."""
        for start in range(0, len(self._points), BLOCK):
            part = slice(start, start + BLOCK)
            for first in range(0, len(centres), CENTRES):
                found = squared_distances(self._points[part], self._points[centres[first : first + CENTRES]])
                np.minimum(self._nearest[part], found.min(axis=1), out=self._nearest[part])
        self._nearest[centres] = 0

    def farthest(self, among: Mask) -> int:
        """The first of those points ``among`` that are farthest from all centres; there must be one."""
        return int(np.where(among, self._nearest, -1).argmax())

    @property
    def radius(self) -> float:
        """Distance of the point that is farthest from all centres."""
        return float(np.sqrt(self._nearest.max()))


class Likeness:
    """How like every point is to the chosen one that is most like it: the cosine similarity, at least 0. Points have
    length 1. The sum over all points is submodular: taking the greatest gain every time reaches 1 - 1/e of the
    best sum (Nemhauser, Wolsey and Fisher 1978)."""

    def __init__(self, points: Points):
        self._points = points
        self._best = np.zeros(len(points), np.float32)

    def add(self, index: int) -> None:
        """Choose a point."""
        np.maximum(self._best, self._points @ self._points[index], out=self._best)

    def gains(self, indices: Ints) -> Floats:
        """By how much each of these points alone would raise the sum."""
        found = np.zeros(len(indices))
        for start in range(0, len(self._points), BLOCK):
            part = slice(start, start + BLOCK)
            for first in range(0, len(indices), CENTRES):
                these = slice(first, first + CENTRES)
                more = self._points[indices[these]] @ self._points[part].T
                more -= self._best[part]
                found[these] += np.maximum(more, 0, out=more).sum(axis=1)
        return found

    @property
    def total(self) -> float:
        """The sum over all points."""
        return float(self._best.sum(dtype=np.float64))


class Clustering(NamedTuple):
    labels: Ints
    """(N,) cluster of each point."""
    centres: Points
    """(k, d)."""


def k_means(points: Points, k: int, *, seed: int, iterations: int = 50) -> Clustering:
    """Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii 2007), until no point changes its cluster.

    A cluster that loses all points gets the one farthest from its centre that leaves none
    empty. ``k`` is at most the number of points.
    """
    centres = _spread(points, k, np.random.default_rng(seed))
    labels = np.full(len(points), -1, np.int64)
    for _ in range(iterations):
        before = labels
        labels, distances = _assigned(points, centres)
        for empty in np.setdiff1d(np.arange(k), labels):
            spare = np.bincount(labels, minlength=k)[labels] > 1
            labels[np.where(spare, distances, -1).argmax()] = empty
        if (labels == before).all():
            break
        centres = _means(points, labels, k)
    return Clustering(labels, centres)


def _spread(points: Points, k: int, random: np.random.Generator) -> Points:
    """k-means++: each next centre is a point drawn in proportion to its squared distance from those before."""
    cover = np.full(len(points), np.inf, np.float64)
    index = int(random.integers(len(points)))
    chosen = [index]
    while len(chosen) < k:
        cover = np.minimum(cover, squared_distances(points, points[[index]])[:, 0])
        cover[chosen] = 0
        total = cover.cumsum()
        if not total[-1]:  # only copies of the centres are left
            rest = np.setdiff1d(np.arange(len(points)), chosen)[: k - len(chosen)]
            chosen += rest.tolist()
            break
        index = min(int(np.searchsorted(total, random.random() * total[-1], side="right")), len(points) - 1)
        chosen.append(index)
    return points[chosen]


def _assigned(points: Points, centres: Points) -> tuple[Ints, Floats]:
    """The nearest centre of each point, the first of equal ones, and the squared distance to it."""
    labels, distances = np.empty(len(points), np.int64), np.empty(len(points), np.float64)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        found = squared_distances(points[part], centres)
        labels[part] = found.argmin(axis=1)
        distances[part] = np.take_along_axis(found, labels[part, None], axis=1)[:, 0]
    return labels, distances


def _means(points: Points, labels: Ints, k: int) -> Points:
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=k)
    starts = np.cumsum(counts) - counts
    # No cluster is empty, so that every sum has a beginning of its own.
    sums = np.add.reduceat(points[order].astype(np.float64), starts, axis=0)
    return (sums / counts[:, None]).astype(np.float32)
