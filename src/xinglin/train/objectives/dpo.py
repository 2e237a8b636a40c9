"""Direct preference optimisation, sigmoid loss (arXiv 2305.18290)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel, sequence_sums


def sigmoid_loss(policy: Tensor, reference: Tensor, *, beta: float) -> tuple[Tensor, Tensor]:
    """Per-pair loss and rewards.

    Args:
        policy: (P, 2) log-probabilities of chosen and rejected answers under the policy.
        reference: (P, 2) the same under the reference.
        beta: strength of the tie to the reference.

    Returns:
        (P,) losses, -log sigmoid(beta * (chosen log-ratio - rejected log-ratio)), and
        (P, 2) rewards, beta * log-ratio, without gradient.
    """
    ratios = policy - reference
    return -logsigmoid(beta * (ratios[:, 0] - ratios[:, 1])), beta * ratios.detach()


class Objective:
    """Mean sigmoid loss over the pairs of the global batch.

    Args:
        reference: (sequences,) log-probability of every answer in the shards under the reference model;
            None: the model with its adapter switched off is asked at every step.
        beta: strength of the tie to the reference.
        sft_weight: adds this times the mean negative log-likelihood per token of the chosen answer
            (arXiv 2404.19733), which keeps chosen answers likely in themselves, not only against rejected ones.
    """

    group = 2

    def __init__(self, reference: Tensor | None, *, beta: float, sft_weight: float = 0.0):
        self.reference = reference
        self.beta = beta
        self.sft_weight = sft_weight

    def weight(self, step: Step) -> float:
        return step.groups

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        policy = sequence_sums(model(packed, want="log_probs"), packed).view(-1, 2)
        reference = self._reference(model, packed, indices).to(policy.device).view(-1, 2)
        losses, rewards = sigmoid_loss(policy, reference, beta=self.beta)
        if self.sft_weight:
            tokens = torch.bincount(packed.owners, minlength=len(packed.lengths)).view(-1, 2)[:, 0]
            losses = losses - self.sft_weight * policy[:, 0] / tokens.clamp_min(1)
        margin = rewards[:, 0] - rewards[:, 1]
        return losses.sum(), {
            "accuracy": (margin > 0).float().sum(),
            "margin": margin.sum(),
            "chosen_reward": rewards[:, 0].sum(),
            "rejected_reward": rewards[:, 1].sum(),
        }

    def _reference(self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]) -> Tensor:
        if self.reference is not None:
            return self.reference[torch.from_numpy(indices)]
        adapted: Any = getattr(model, "module", model).model
        with torch.no_grad(), adapted.disable_adapter():
            return sequence_sums(model(packed, want="log_probs"), packed)
