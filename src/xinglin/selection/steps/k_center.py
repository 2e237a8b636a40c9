"""k-center: records that leave none far away (greedy, arXiv 2311.15653's coverage)."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from xinglin.selection.geometry import Cover, medoid
from xinglin.selection.pool import Pool
from xinglin.selection.quotas import Room
from xinglin.selection.steps import TakeConfig

EMBEDS = True


class Config(TakeConfig):
    """Take, again and again, the candidate that is farthest from all that is chosen. The first is the medoid, unless
    protected records or earlier steps have begun."""

    name: Literal["k_center"]
    """This step."""


def apply(config: Config, pool: Pool) -> None:
    room = pool.room(config.size)
    pool.fill(room, lambda: _farthest(pool, room))


def _farthest(pool: Pool, room: Room) -> Iterator[int]:
    points = pool.embed()
    cover = Cover(points)
    begun = np.flatnonzero(pool.protected).tolist() + pool.taken
    cover.add(begun)
    while (allowed := room.open).any():
        index = cover.farthest(allowed) if begun else medoid(points, allowed)
        begun = [index]
        cover.add([index])
        yield index
