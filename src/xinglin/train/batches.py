"""Where the loop takes its steps from: an order of sequences, the packed tensors, and what is lowered on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch.nn import Module

from xinglin.data.packing import Packed, Step, pack
from xinglin.data.shards import Shards
from xinglin.train.objectives import ObjectiveProtocol

Ints = npt.NDArray[np.int64]


class Steps(Protocol):
    """The order of a run: ``steps[number]`` must be the same whenever and however often it is asked for."""

    def __len__(self) -> int:
        """How many steps the learning rate is laid out for."""
        ...

    def __getitem__(self, step: int, /) -> Step:
        """Raises IndexError past the last step."""
        ...


@dataclass(frozen=True)
class Batches:
    """Steps, and what a micro-batch of them is made of."""

    steps: Steps
    pack: Callable[[Ints], Packed]
    """Sequence numbers, as a step's micro-batch has them -> the packed batch."""
    objective: ObjectiveProtocol
    source: Callable[[Ints], str]
    """Sequence numbers -> where they come from, for an error message."""
    before: Callable[[Module, Step], None] = lambda model, step: None
    """What the objective has to know of a whole step first; called with the model that it will be given."""


def shard_batches(
    shards: Shards,
    steps: Steps,
    objective: ObjectiveProtocol,
    *,
    describe: Callable[[dict[str, float]], dict[str, float]] = lambda means: means
    """What an evaluation says of its means, e.g. the perplexity besides the loss."""
    split: str,
    share: bool = False,
) -> Batches:
    """Batches of the token shards of one split; ``share`` is that of ``pack``."""

    def source(indices: Ints) -> str:
        lines = sorted({int(shards.rows[index]) + 1 for index in indices})
        shown = ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
        return f"lines {shown} of split '{split}'"

    return Batches(steps, lambda indices: pack(shards, indices, share=share), objective, source)
