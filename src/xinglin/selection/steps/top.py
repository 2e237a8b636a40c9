"""Top: the records with the best score."""

from typing import Literal

from xinglin.selection.pool import Pool
from xinglin.selection.steps import RankConfig


class Config(RankConfig):
    """Take the best by a score."""

    name: Literal["top"]
    """This step."""


def apply(config: Config, pool: Pool) -> None:
    ranked = pool.ranking(config.score, lowest=config.lowest)
    pool.fill(pool.room(config.size), ranked.tolist)
