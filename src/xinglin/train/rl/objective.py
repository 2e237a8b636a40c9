"""What the loop lowers: the method's loss over a micro-batch of a rollout."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel
from xinglin.train.rl.losses import divergence
from xinglin.train.rl.methods import Batch, Method
from xinglin.train.rl.steps import RolloutSteps


class Objective:
    """Brings a micro-batch and the numbers of its rollout together."""

    def __init__(self, method: Method, steps: RolloutSteps, *, group: int):
        self.method, self.steps, self.group = method, steps, group

    def weight(self, step: Step) -> float:
        return self.method.weight(step)

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor | tuple[Tensor, Tensor]]]:
        wants = self.method.wants
        found = dict(zip(wants, model(packed, want=wants), strict=True))
        log_probs = found["log_probs"]

        def of(name: str) -> Tensor:
            if not len(indices):
                return log_probs.detach()
            rollout, local = self.steps.locate(indices)
            if name == "log_probs" and name not in rollout.tokens:
                return log_probs.detach()
            return rollout.of(name, local).to(log_probs.device)

        counts = torch.bincount(packed.owners, minlength=len(packed.lengths))
        total, metrics = self.method.loss(Batch(found, of, packed.owners, counts))
        # At tokens that the old policy drew, so that this estimates KL(old || now).
        moved = divergence(of("log_probs"), log_probs.detach()).double()
        self.steps.note_drift(moved)
        number = total.new_tensor(float(len(moved)))
        if "entropy" in found:
            metrics["entropy"] = (found["entropy"].sum(), number)
        return total, {**metrics, "update_kl": (moved.sum(), number)}
