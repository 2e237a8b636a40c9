"""Text beside the answers: weight x (loss per token of documents) is added to the loss of every step.

The documents of a step lie in micro-batches of their own, numbered from where the split's sequences end. Which they
are follows from the step's number and the seed: an endless round over the documents, in a new order each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from xinglin.data.packing import Ints, Packed, Step, first_fit, pack
from xinglin.data.shards import Shards
from xinglin.models.packed import PackedModel
from xinglin.train.batches import Batches, Steps
from xinglin.train.objectives.language_modeling import Objective


@dataclass(frozen=True)
class Text:
    """A split of documents that every step takes some of."""

    shards: Shards
    offset: int
    """The number of its first sequence."""
    batch_size: int
    micro_batch_tokens: int
    seed: int
    processes: int = 1

    def of_step(self, number: int) -> Ints:
        """Positions in ``shards`` of the sequences of a step."""
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        rounds, at = np.divmod(places, len(self.shards))
        orders = {
            turn: np.random.default_rng([self.seed, 1, turn]).permutation(len(self.shards))
            for turn in np.unique(rounds).tolist()
        }
        return np.array(
            [orders[turn][place] for turn, place in zip(rounds.tolist(), at.tolist(), strict=True)]
        )


@dataclass(frozen=True)
class _StepsWithText:
    steps: Steps
    text: Text

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int, /) -> Step:
        step, text = self.steps[number], self.text
        chosen = text.of_step(number)
        bins = first_fit(text.shards.lengths[chosen], text.micro_batch_tokens, multiple_of=text.processes)
        filled = [chosen[members] + text.offset for members in bins]
        batches = (
            (*part, *filled[process :: text.processes]) for process, part in enumerate(step.micro_batches)
        )
        return replace(
            step,
            micro_batches=tuple(batches),
            tokens=step.tokens + int(text.shards.lengths[chosen].sum()),
        )


class _ObjectiveWithText:
    """``answers`` for the split's own sequences; for text, its loss scaled to count as the mean that it is."""

    group = 1

    def __init__(self, answers: Objective, text: Text, *, weight: float):
        self.answers = answers
        self.text = text
        self._weight = weight
        self._scale = 0.0

    def begin(self, model: Module, step: Step) -> None:
        """Note the step: what its answers are divided by, over what its text is."""
        numbers = np.concatenate([batch for part in step.micro_batches for batch in part])
        written = numbers[numbers >= self.text.offset] - self.text.offset
        tokens = max(float(self.text.shards.sums[written].sum()), 1.0)
        self._scale = self._weight * max(self.weight(step), 1.0) / tokens

    def weight(self, step: Step) -> float:
        own = (batch[batch < self.text.offset] for part in step.micro_batches for batch in part)
        return self.answers.weight(replace(step, micro_batches=(tuple(own),)))

    def loss(
        self, model: PackedModel, packed: Packed, indices: Ints
    ) -> tuple[Tensor, Mapping[str, Tensor | tuple[Tensor, Tensor]]]:
        if not (indices >= self.text.offset).any():
            loss, metrics = self.answers.loss(model, packed, indices)
            zero = loss.new_zeros(())
            return loss, {**metrics, "text_loss": (zero, zero)}
        loss = model(packed)
        tokens = torch.tensor(len(packed.targets), dtype=loss.dtype, device=loss.device)
        return self._scale * loss, {"text_loss": (loss, tokens)}


def with_text(batches: Batches, objective: Objective, text: Text, *, weight: float) -> Batches:
    """``batches``, whose objective is ``objective``, with text beside them.

    Args:
        weight: what the loss per token of a step's text is multiplied by.
    """
    both = _ObjectiveWithText(objective, text, weight=weight)

    def packed(indices: Ints) -> Packed:
        if (indices >= text.offset).any():
            return pack(text.shards, indices - text.offset)
        return batches.pack(indices)

    def source(indices: Ints) -> str:
        return batches.source(indices[indices < text.offset]) + ", or in the text beside it"

    return Batches(_StepsWithText(batches.steps, text), packed, both, source, both.begin)
