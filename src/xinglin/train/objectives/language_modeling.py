"""Predict every trained token from what precedes it in its sequence (pretraining and SFT)."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel


class Objective:
    """Mean negative log-likelihood over the trained tokens of the whole global batch."""

    group = 1

    def weight(self, step: Step) -> float:
        return step.trained_tokens

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        return model(packed), {}
