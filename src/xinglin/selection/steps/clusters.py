"""Clusters: the best records of every cluster (CaR, arXiv 2402.18191)."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from xinglin.selection.geometry import k_means
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
    if not len(ranked):
        return
    number = min(config.number or math.isqrt(len(ranked) // 2) or 1, len(ranked))
    rows = np.sort(ranked)
    labels = k_means(pool.embed()[rows], number, seed=pool.seed).labels[np.searchsorted(rows, ranked)]
    place = _place_in_cluster(labels)
    order = np.lexsort((np.arange(len(ranked)), place))
    pool.fill(pool.room(config.size), ranked[order[place[order] < config.each]])


def _place_in_cluster(labels: np.ndarray) -> np.ndarray:
    """How many of the same cluster come before each."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - starts[labels[order]]
    return place
