"""Clusters: the best records of every cluster (CaR, arXiv 2402.18191)."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from xinglin.selection.geometry import Ints, k_means
from xinglin.selection.pool import Pool
from xinglin.selection.steps import RankConfig

EMBEDS = True


class Config(RankConfig):
    """Cluster the candidates by k-means and take the best of each cluster, the first of all clusters first."""

    name: Literal["clusters"]
    """This step."""
    each: Annotated[int, Field(gt=0)] = 1
    """How many of each cluster."""
    number: Annotated[int, Field(gt=0)] | None = None
    """Of clusters. Default: the square root of half the candidates."""


def apply(config: Config, pool: Pool) -> None:
    ranked = pool.ranking(config.score, lowest=config.lowest)
    order = _by_place(_clusters(config, pool, ranked), config.each) if len(ranked) else []
    pool.fill(pool.room(config.size), ranked[order].tolist)


def _clusters(config: Config, pool: Pool, ranked: Ints) -> Ints:
    """The cluster of each ranked record; they are found in the order of the split."""
    number = min(config.number or math.isqrt(len(ranked) // 2) or 1, len(ranked))
    rows = np.sort(ranked)
    return k_means(pool.embed()[rows], number, seed=pool.seed).labels[np.searchsorted(rows, ranked)]


def _by_place(labels: Ints, each: int) -> Ints:
    """The first of every cluster, then the second, and so on, up to ``each``; clusters by their first record."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    by_place = np.argsort(place, kind="stable")
    return by_place[place[by_place] < each]
