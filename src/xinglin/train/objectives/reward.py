"""Reward modelling: the pairwise logistic loss (Bradley and Terry, 1952; arXiv 2203.02155)."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel


def pairwise_loss(scores: Tensor, margins: Tensor, *, center: float) -> Tensor:
    """(P,) losses, -log sigmoid(chosen - rejected - margin) + center * (chosen + rejected)².

    Args:
        scores: (P, 2) of chosen and rejected answers.
        margins: (P,) by how much the chosen one is to win (arXiv 2307.09288).
        center: pulls scores towards 0 (arXiv 2312.09244), which the first term leaves open.
    """
    lead = scores[:, 0] - scores[:, 1] - margins
    return -logsigmoid(lead) + center * scores.sum(1) ** 2


class Objective:
    """Mean pairwise loss over the pairs of the global batch.

    Args:
        margins: (pairs,) of the whole split.
        weights: (pairs,) what each pair's loss is multiplied by, 1 on average.
        center: see ``pairwise_loss``.
    """

    group = 2

    def __init__(self, margins: Tensor, weights: Tensor, *, center: float):
        self.margins, self.weights, self.center = margins, weights, center

    def weight(self, step: Step) -> float:
        return step.groups

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        scores: Tensor = model(packed, want="scores").view(-1, 2)
        pairs = torch.from_numpy(indices[::2] // 2)
        margins, weights = (facts[pairs].to(scores.device) for facts in (self.margins, self.weights))
        losses = weights * pairwise_loss(scores, margins, center=self.center)
        chosen, rejected = scores.detach().unbind(1)
        return losses.sum(), {
            "accuracy": (chosen > rejected).float().sum(),
            "margin": (chosen - rejected).sum(),
            "chosen_score": chosen.sum(),
            "rejected_score": rejected.sum(),
        }
