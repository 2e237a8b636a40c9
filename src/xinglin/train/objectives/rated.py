"""KTO (arXiv 2402.01306) on answers that are each rated good or bad."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel, sequence_sums
from xinglin.train.preference_losses import PreferenceLoss, kto_losses
from xinglin.train.reference import without_adapter


class Objective:
    """Mean loss over the answers of the global batch.

    Args:
        loss: with the settings of ``kto``.
        good: (sequences,) bool, of every answer in the shards.
        reference: (sequences,) log-probability of each under the reference model; None: the model with its adapter
            switched off is asked at every step.
    """

    group = 1

    def __init__(self, loss: PreferenceLoss, good: Tensor, *, reference: Tensor | None = None):
        self.settings = loss
        self.good = good
        self.reference = reference
        self.kl: Tensor | None = None
        """What rewards are measured from; set before each step."""

    def weight(self, step: Step) -> float:
        return step.groups

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor | tuple[Tensor, Tensor]]]:
        policy = sequence_sums(log_probs := model(packed, want="log_probs"), packed)
        good = self.good[torch.from_numpy(indices)].to(policy.device)
        ratios = policy - self._reference(model, packed, indices)
        kl = policy.new_zeros(()) if self.kl is None else self.kl
        losses = kto_losses(ratios, good, self.settings, kl=kl)
        losses = losses - self.settings.sft_weight * good * policy / _tokens(log_probs, packed)
        rewards, found = self.settings.beta * ratios.detach(), policy.detach()
        metrics: dict[str, Tensor | tuple[Tensor, Tensor]] = {
            "kl": kl * len(policy),
            "accuracy": ((rewards > self.settings.beta * kl) == good).float().sum(),
        }
        for name, members in (("chosen", good), ("rejected", ~good)):
            number = members.sum().float()
            metrics[f"{name}_reward"] = ((rewards * members).sum(), number)
            metrics[f"{name}_log_prob"] = ((found * members).sum(), number)
        return losses.sum(), metrics

    def _reference(self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]) -> Tensor:
        if self.reference is not None:
            return self.reference[torch.from_numpy(indices)].to(packed.input_ids.device, non_blocking=True)
        with without_adapter(model):
            return sequence_sums(model(packed, want="log_probs"), packed)


def _tokens(log_probs: Tensor, packed: Packed) -> Tensor:
    return sequence_sums(torch.ones_like(log_probs), packed)
