"""What training lowers. An objective is one file with a class ``Objective`` of this form:

    group: int                                    sequences that belong together (2 for pairs)
    weight(step: Step) -> float                   what the summed loss of a step is divided by
    loss(model, packed, indices) -> (sum, metrics)  summed loss of a packed batch, and sums for the log

The loop knows batches, accumulation, clipping, schedule, logging, saving and resuming; an objective knows tensors.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xinglin.data.packing import Packed, Step
from xinglin.models.packed import PackedModel


class ObjectiveProtocol(Protocol):
    """The contract above, for the type checker."""

    group: int

    def weight(self, step: Step) -> float:
        """The number that the step's summed loss is divided by, over all processes."""
        ...

    def loss(
        self, model: PackedModel, packed: Packed, indices: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Mapping[str, Tensor | tuple[Tensor, Tensor]]]:
        """The summed loss of ``packed`` and, per metric, a sum that is divided by the same weight, or by its own.

        ``indices`` are the numbers of its sequences. A metric with a weight of its own is a pair (sum, weight).
        """
        ...
