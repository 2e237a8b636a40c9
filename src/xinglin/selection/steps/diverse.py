"""Diverse: the best records that are not too like those chosen before (DEITA, arXiv 2312.15685)."""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from xinglin.selection.geometry import Ints
from xinglin.selection.pool import Pool
from xinglin.selection.steps import RankConfig

EMBEDS = True
BLOCK = 256
"""Candidates that are compared with all that is chosen at a time."""


class Config(RankConfig):
    """Go through the candidates from the best on and take each whose nearest chosen record is not too near."""

    name: Literal["diverse"]
    """This step."""
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9
    """From this cosine similarity on, a record is too like another."""


def apply(config: Config, pool: Pool) -> None:
    ranked = pool.ranking(config.score, lowest=config.lowest)
    pool.fill(pool.room(config.size), lambda: _unlike(config, pool, ranked))


def _unlike(config: Config, pool: Pool, order: Ints) -> Iterator[int]:
    points = pool.embed()
    begun = np.flatnonzero(pool.protected).tolist()
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        near = _nearest(points[block], points[begun + pool.taken])
        among = points[block] @ points[block].T
        for place, index in enumerate(block.tolist()):
            if near[place] < config.similarity:
                taken = len(pool.taken)
                yield index
                if len(pool.taken) > taken:  # quotas let it in
                    np.maximum(near, among[place], out=near)


def _nearest(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(B,) the greatest cosine similarity to what is chosen."""
    return (points @ chosen.T).max(axis=1) if len(chosen) else np.full(len(points), -1, np.float32)
