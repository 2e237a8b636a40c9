"""Which sequences go into which step and micro-batch, and the packed batch itself.

A step's sequences are laid end to end in as few micro-batches as the token budget allows; nothing is padded,
cut or left out. The plan is a pure function of lengths, sizes and seed, so that step ``n`` can be rebuilt at
any time: resuming needs the step number and nothing else.
"""

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xinglin.data.shards import Shards

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One optimizer step."""

    epoch: float
    """Epochs completed when this step is done."""
    micro_batches: tuple[tuple[Ints, ...], ...]
    """Per process, the sequence indices of each micro-batch; every process has the same number of them."""
    tokens: int
    trained_tokens: int
    """Over all processes: what the loss is divided by."""
    groups: int
    """Sequences, or pairs of them for preferences, over all processes."""


class Plan:
    """The steps of a training run.

    Args:
        lengths: (S,) tokens of each sequence.
        counts: (S,) trained tokens of each.
        group: neighbouring sequences that belong together (2 for preference pairs).
        batch_size: groups per step; or
        batch_tokens: tokens per step, in which case groups are taken until it is reached.
        micro_batch_tokens: tokens of one forward pass, over all sequences in it.
        epochs: passes over the data; a fraction ends within one.
        max_steps: upper bound on the steps, if any.
        processes: data-parallel processes that share each step.
    """

    def __init__(
        self,
        lengths: Ints,
        counts: Ints,
        *,
        micro_batch_tokens: int,
        group: int = 1,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        epochs: float = 1.0,
        max_steps: int | None = None,
        seed: int = 0,
        processes: int = 1,
        shuffle: bool = True,
    ):
        self.lengths, self.counts, self.group = lengths, counts, group
        self.micro_batch_tokens, self.seed, self.processes, self.shuffle = (
            micro_batch_tokens,
            seed,
            processes,
            shuffle,
        )
        self._group_lengths = lengths.reshape(-1, group).sum(axis=1)
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._epochs: dict[int, list[Ints]] = {}
        whole, part = divmod(epochs, 1)
        self._first_steps = [0]
        for epoch in range(int(whole) + (part > 0)):
            steps = len(self._epoch(epoch))
            kept = steps if epoch < whole else max(1, round(steps * part))
            self._first_steps.append(self._first_steps[-1] + kept)
            if max_steps and self._first_steps[-1] >= max_steps:
                break
        self.steps = min(self._first_steps[-1], max_steps or self._first_steps[-1])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Step:
        if not 0 <= step < self.steps:
            raise IndexError(step)
        epoch = int(np.searchsorted(self._first_steps, step, side="right")) - 1
        batches = self._epoch(epoch)
        position = step - self._first_steps[epoch]
        groups = batches[position]
        indices = (groups[:, None] * self.group + np.arange(self.group)).reshape(-1)
        return Step(
            epoch=epoch + (position + 1) / len(batches),
            micro_batches=self._share(groups),
            tokens=int(self.lengths[indices].sum()),
            trained_tokens=int(self.counts[indices].sum()),
            groups=len(groups),
        )

    def _epoch(self, epoch: int) -> list[Ints]:
        """The group numbers of each step of an epoch, in order."""
        if epoch not in self._epochs:
            number = len(self._group_lengths)
            order = (
                np.random.default_rng([self.seed, epoch]).permutation(number)
                if self.shuffle
                else np.arange(number)
            )
            if self._batch_tokens:
                before = np.concatenate([[0], np.cumsum(self._group_lengths[order])[:-1]])
                cuts = np.flatnonzero(np.diff(before // self._batch_tokens)) + 1
            else:
                cuts = np.arange(self._batch_size or 1, number, self._batch_size or 1)
            self._epochs = {epoch: np.split(order, cuts)} if number else {epoch: []}
        return self._epochs[epoch]

    def _share(self, groups: Ints) -> tuple[tuple[Ints, ...], ...]:
        bins = first_fit(self._group_lengths[groups], self.micro_batch_tokens, multiple_of=self.processes)
        filled = [
            (groups[members][:, None] * self.group + np.arange(self.group)).reshape(-1) for members in bins
        ]
        return tuple(tuple(filled[process :: self.processes]) for process in range(self.processes))


def first_fit(lengths: Ints, capacity: int, *, multiple_of: int = 1) -> list[Ints]:
    """First-fit-decreasing bin packing: positions in ``lengths`` per bin, ascending within each.

    An item over ``capacity`` gets a bin of its own. Empty bins are added until their number is a multiple of
    ``multiple_of``.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for item in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[item])
        place = next((index for index, free in enumerate(room) if free >= length), None)
        if place is None:
            bins.append([item])
            room.append(capacity - length)
        else:
            bins[place].append(item)
            room[place] -= length
    bins += [[] for _ in range(-len(bins) % multiple_of)]
    return [np.asarray(sorted(members), dtype=np.int64) for members in bins]


class Packed(NamedTuple):
    """Sequences laid end to end. T tokens, M of them trained, S sequences."""

    input_ids: Any
    """(1, T) long tensor."""
    position_ids: Any
    """(1, T), counting from 0 in every sequence."""
    lengths: tuple[int, ...]
    """(S,) tokens of each sequence."""
    boundaries: Any
    """(S + 1,) int32 tensor of cumulative lengths."""
    predictors: Any
    """(M,) flat positions whose next token is trained."""
    targets: Any
    """(M,) those next tokens."""
    owners: Any
    """(M,) which sequence each target belongs to."""

    def to(self, device: Any) -> "Packed":
        moved = (field if isinstance(field, tuple) else field.to(device, non_blocking=True) for field in self)
        return Packed(*moved)

    def apart(self) -> Iterator["Packed"]:
        """Each sequence as a batch of its own."""
        for number, length in enumerate(self.lengths):
            start = int(self.boundaries[number])
            mine = self.owners == number
            yield Packed(
                input_ids=self.input_ids[:, start : start + length],
                position_ids=self.position_ids[:, start : start + length],
                lengths=(length,),
                boundaries=self.boundaries.new_tensor([0, length]),
                predictors=self.predictors[mine] - start,
                targets=self.targets[mine],
                owners=self.owners[mine] - number,
            )


def pack(shards: Shards, indices: Ints) -> Packed:
    """The packed batch of these sequences, in this order."""
    return pack_sequences([shards[int(index)] for index in indices])


def pack_sequences(sequences: SequenceOf[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]) -> Packed:
    """As ``pack``, from (ids, trained) pairs in memory."""
    import torch

    lengths = [len(ids) for ids, _ in sequences]
    boundaries = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([ids for ids, _ in sequences]) if sequences else np.zeros(0, np.int64)
    trained = np.concatenate([mask for _, mask in sequences]) if sequences else np.zeros(0, np.bool_)
    starts = boundaries[:-1][np.asarray(lengths, dtype=np.int64) > 0]
    trained[starts] = False
    targets = np.flatnonzero(trained)
    return Packed(
        input_ids=torch.from_numpy(ids.astype(np.int64))[None],
        position_ids=torch.from_numpy(np.arange(len(ids)) - np.repeat(boundaries[:-1], lengths))[None],
        lengths=tuple(lengths),
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        predictors=torch.from_numpy(targets - 1),
        targets=torch.from_numpy(ids[targets].astype(np.int64)),
        owners=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)[targets]),
    )
