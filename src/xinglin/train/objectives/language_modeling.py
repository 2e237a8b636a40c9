"""Predict every trained token from what precedes it in its sequence (pretraining and SFT)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.data.shards import Shards
from xinglin.models.packed import PackedModel

MAX_SOURCES = 12
"""Sources of a split whose losses are told apart."""


@dataclass(frozen=True)
class Sources:
    """Which source, or other part of a split, each sequence belongs to, so that each has a loss of its own."""

    names: list[str]
    index: Tensor
    """(sequences,) long."""

    @classmethod
    def of(cls, shards: Shards) -> "Sources | None":
        """The sources of a split that has several."""
        names, index = shards.told_apart(MAX_SOURCES)
        return cls(names, torch.from_numpy(index)) if len(names) > 1 else None

    def losses(
        self, losses: Tensor, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """``loss/NAME`` -> sum and weight of the (M,) losses of each source, those without a token here too."""
        mine = self.index[torch.from_numpy(indices)].to(losses.device)[packed.owners]
        weights = torch.ones_like(losses) if packed.weights is None else packed.weights
        sums, totals = (
            losses.new_zeros(len(self.names)).index_add(0, mine, values) for values in (losses, weights)
        )
        return {f"loss/{name}": (sums[at], totals[at]) for at, name in enumerate(self.names)}


class Objective:
    """Mean negative log-likelihood over the trained tokens of the whole global batch, by their weights.

    Args:
        sums: (sequences,) summed weights of each sequence (``Shards.sums``); None: every trained token has weight 1.
        sources: tells the losses of several sources apart.
        buckets: the same for the buckets of a curriculum.
    """

    group = 1

    def __init__(
        self,
        sums: npt.NDArray[np.float64] | None = None,
        sources: Sources | None = None,
        buckets: Sources | None = None,
    ):
        self.sums = sums
        self.told_apart = [parts for parts in (sources, buckets) if parts]

    @classmethod
    def of(cls, shards: Shards, *, buckets: Sources | None = None) -> "Objective":
        """The objective for a split."""
        return cls(shards.sums, Sources.of(shards), buckets)

    def weight(self, step: Step) -> float:
        if self.sums is None:
            return step.trained_tokens
        return float(sum(self.sums[batch].sum() for part in step.micro_batches for batch in part))

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor | tuple[Tensor, Tensor]]]:
        if not self.told_apart:
            return model(packed), {}
        nll, losses = model(packed, want=("nll", "losses"))
        parts = (parts.losses(losses, packed, indices) for parts in self.told_apart)
        return nll, {name: value for each in parts for name, value in each.items()}
