"""Preference optimisation on pairs: DPO (arXiv 2305.18290) and its relatives."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel, sequence_sums
from xinglin.train.preference_losses import REFERENCE_FREE, Pairs, PreferenceLoss
from xinglin.train.reference import without_adapter


class Objective:
    """Mean loss over the pairs of the global batch.

    Args:
        pair_loss: which of the losses.
        reference: (sequences,) log-probability of every answer in the shards under the reference model;
            None: the model with its adapter switched off is asked at every step. A loss without reference asks
            neither.
    """

    group = 2

    def __init__(self, pair_loss: PreferenceLoss, *, reference: Tensor | None = None):
        self.pair_loss = pair_loss
        self.reference = reference
        self.kl: Tensor | None = None
        """What ``kto`` measures rewards from; set before each step."""

    def weight(self, step: Step) -> float:
        return step.groups

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        log_probs = model(packed, want="log_probs")
        policy = sequence_sums(log_probs, packed).view(-1, 2)
        tokens = sequence_sums(torch.ones_like(log_probs), packed).view(-1, 2)
        pairs = Pairs(policy, self._reference(model, packed, indices, policy), tokens)
        if self.kl is not None:
            pairs = pairs._replace(kl=self.kl)
        rewards = self.pair_loss.rewards(pairs)
        margin = rewards[:, 0] - rewards[:, 1]
        metrics = {
            "accuracy": (margin > 0).float().sum(),
            "margin": margin.sum(),
            "chosen_reward": rewards[:, 0].sum(),
            "rejected_reward": rewards[:, 1].sum(),
            "chosen_log_prob": policy[:, 0].sum(),
            "rejected_log_prob": policy[:, 1].sum(),
        }
        if self.kl is not None:
            metrics["kl"] = self.kl * len(policy)
        return self.pair_loss(pairs).sum(), metrics

    def _reference(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64], policy: Tensor
    ) -> Tensor:
        if self.pair_loss.name in REFERENCE_FREE:
            return torch.zeros_like(policy)
        if self.reference is not None:
            return self.reference[torch.from_numpy(indices)].to(policy.device, non_blocking=True).view(-1, 2)
        with without_adapter(model):
            return sequence_sums(model(packed, want="log_probs"), packed).view(-1, 2)
