"""Facility location: records that every other one is like (Superfiltering.D, arXiv 2402.00530)."""

import heapq
from collections.abc import Iterator
from typing import Literal

import numpy as np

from xinglin.selection.geometry import Likeness
from xinglin.selection.pool import Pool
from xinglin.selection.steps import TakeConfig

EMBEDS = True
BLOCK = 32
"""Candidates that are asked again at a time: together they take little more time than one."""


class Config(TakeConfig):
    """Take, again and again, the candidate that adds most to the sum, over all records that are not dropped, of the
    cosine similarity to the chosen one that is most like it. Dense regions count, and outliers hardly, which is the
    other way round in ``k_center``. Time grows with the square of the records: 20,000 take a minute."""

    name: Literal["facility_location"]
    """This step."""


def apply(config: Config, pool: Pool) -> None:
    pool.fill(pool.room(config.size), lambda: _greedy(pool))


def _greedy(pool: Pool) -> Iterator[int]:
    """Lazily (Minoux 1978): what a candidate adds only falls, so that one that still adds more than others did
    before is the best."""
    free = pool.candidates
    held = pool.protected.copy()
    held[pool.taken] = True
    rows = np.flatnonzero(free | held)
    likeness = Likeness(pool.embed()[rows])
    for place in np.flatnonzero(held[rows]).tolist():
        likeness.add(place)
    places = np.flatnonzero(free[rows])
    bounds = list(zip((-likeness.gains(places)).tolist(), places.tolist(), strict=True))
    heapq.heapify(bounds)
    asked = np.full(len(rows), len(pool.taken))
    while bounds:
        stale: list[int] = []
        while bounds and len(stale) < BLOCK and asked[bounds[0][1]] < len(pool.taken):
            stale.append(heapq.heappop(bounds)[1])
        if stale:
            for bound, place in zip((-likeness.gains(np.array(stale))).tolist(), stale, strict=True):
                heapq.heappush(bounds, (bound, place))
            asked[stale] = len(pool.taken)
            continue
        _, place = heapq.heappop(bounds)
        taken = len(pool.taken)
        yield int(rows[place])
        if len(pool.taken) > taken:  # quotas let it in
            likeness.add(place)
