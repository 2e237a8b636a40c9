"""Where the loop takes its steps from: an order of sequences, the packed tensors, and what is lowered on them.

Several processes see the same steps, in the same order, and each takes its part of every one. Whoever makes sequences
inside ``steps[number]`` may have each process make some (``accelerator.process_index`` of ``num_processes``), gather
them with ``processes.gather_rows``, and return the same step everywhere; sharded weights generate within
``sharding.put_together``. Only the first process writes to ``run.scratch``; ``processes.wait`` before others read it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
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
    describe: Callable[[dict[str, float]], dict[str, float]] = lambda means: means
    """What an evaluation says of its means, e.g. the perplexity besides the loss."""


def shard_batches(
    shards: Shards,
    steps: Steps,
    objective: ObjectiveProtocol,
    *,
    split: str,
    share: bool = False,
) -> Batches:
    """Batches of the token shards of one split; ``share`` is that of ``pack``."""

    def source(indices: Ints) -> str:
        lines = sorted({int(shards.rows[index]) + 1 for index in indices})
        shown = ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
        return f"lines {shown} of split '{split}'"

    return Batches(steps, lambda indices: pack(shards, indices, share=share), objective, source)


def turns(step: Step, accelerator: Accelerator) -> list[tuple[Ints, float]]:
    """The micro-batches of this process, each with the share of it that counts: 1, or 0 for a stand-in.

    Processes sum gradients and put sharded weights together during a pass, so all must make the same number of
    passes. Where one has nothing left to do, it repeats what another computes at that time, and it counts for nothing.
    """
    mine = step.micro_batches[accelerator.process_index]
    return [
        (indices, 1.0)
        if len(indices)
        else (next(part[turn] for part in step.micro_batches if len(part[turn])), 0.0)
        for turn, indices in enumerate(mine)
    ]
