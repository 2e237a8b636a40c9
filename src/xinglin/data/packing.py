"""Which sequences go into which step and micro-batch, and the packed batch itself.

A step's sequences are laid end to end in as few micro-batches as the token budget allows; nothing is padded,
cut or left out. The plan is a pure function of lengths, sizes and seed, so that step ``n`` can be rebuilt at
any time: resuming needs the step number and nothing else.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xinglin.data.shards import Shards, shared_tokens

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One optimizer step."""

    epoch: float
    """Epochs completed when this step is done."""
    micro_batches: tuple[tuple[Ints, ...], ...]
    """Per process, the sequence indices of each micro-batch; every process has the same number of them."""
    tokens: int
    """Of the data, over all processes: a beginning that a group shares counts in every sequence, as it does in
    trainers that compute it again, so that speeds can be compared."""
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
        shared: (S,) tokens of each sequence that are laid in its group's first one (``Shards.shared``), if any.
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
        shared: Ints | None = None,
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
        laid = lengths if shared is None else lengths - shared
        self._group_costs = laid.reshape(-1, group).sum(axis=1)
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

    def sequences(self) -> Ints:
        """(U,) all sequences that the steps take, ascending."""
        groups = np.concatenate([np.zeros(0, np.int64), *self._epoch(0)[: self.steps]])
        return (np.sort(groups)[:, None] * self.group + np.arange(self.group)).reshape(-1)

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
        bins = first_fit(self._group_costs[groups], self.micro_batch_tokens, multiple_of=self.processes)
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
    """Sequences laid end to end. T tokens, M of them trained, S sequences.

    Sequences of a group (a preference pair, the answers to one prompt) can share their beginning: it is laid once,
    in the first sequence of the group, the *head*. The others hold only what follows, attend to those tokens of
    the head and then to themselves, and their positions count on from there. What is computed is the same.
    """

    input_ids: Any
    """(1, T) long tensor."""
    position_ids: Any
    """(1, T), counting from 0 in every sequence."""
    lengths: tuple[int, ...]
    """(S,) tokens laid for each sequence: all but those in its head."""
    boundaries: Any
    """(S + 1,) int32 tensor of cumulative lengths."""
    predictors: Any
    """(M,) flat positions whose next token is trained; a shared one can predict a token of several sequences."""
    targets: Any
    """(M,) those next tokens."""
    owners: Any
    """(M,) which sequence each target belongs to, ascending."""
    last: Any
    """(S,) flat position of the last token of each sequence."""
    weights: Any = None
    """(M,) float32, what the loss of each target is multiplied by; None: 1."""
    shared: tuple[int, ...] = ()
    """(S,) tokens that each sequence has in its head, 0 for a head itself; () if nothing is shared."""
    heads: tuple[int, ...] = ()
    """(S,) the head of each sequence; () if nothing is shared."""
    key_index: Any = None
    """(K,) flat positions of the complete sequences, one after another; None if nothing is shared."""
    key_boundaries: Any = None
    """(S + 1,) int32 tensor, where each begins in ``key_index``; None if nothing is shared."""
    seen: tuple[Any, ...] = ()
    """(S,) bool tensors (tokens, tokens): which tokens each of a sequence sees, where nothing is shared and some are
    hidden at random; () if each sees all before it."""

    def to(self, device: Any) -> "Packed":
        """A copy on ``device``. Lengths stay on the host, so that nothing ever waits for the device to tell them."""
        tensors = {name: value for name, value in self._asdict().items() if hasattr(value, "to")}
        return self._replace(**{name: value.to(device, non_blocking=True) for name, value in tensors.items()})

    def apart(self) -> Iterator["Packed"]:
        """Each sequence, complete, as a batch of its own."""
        import torch

        index = self.key_index
        if index is None:
            index = torch.arange(sum(self.lengths), device=self.input_ids.device)
        shared = self.shared or (0,) * len(self.lengths)
        complete = [own + taken for own, taken in zip(self.lengths, shared, strict=True)]
        for number, places in enumerate(index.split(complete)):
            mine = self.owners == number
            yield Packed(
                input_ids=self.input_ids[:, places],
                position_ids=self.position_ids[:, places],
                lengths=(complete[number],),
                boundaries=self.boundaries.new_tensor([0, complete[number]]),
                predictors=torch.searchsorted(places, self.predictors[mine]),
                targets=self.targets[mine],
                owners=self.owners[mine] - number,
                last=self.last.new_tensor([complete[number] - 1]),
                weights=None if self.weights is None else self.weights[mine],
            )


Example = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""(T,) token ids, and per token: bool, whether it is trained, or float32, what its loss is multiplied by."""


class _Laid(NamedTuple):
    ids: npt.NDArray[Any]
    weights: npt.NDArray[Any]
    head: int
    shared: int
    places: Ints
    """(T,) flat positions, ascending; the first ``shared`` are the head's."""

    @property
    def trained(self) -> Ints:
        """Positions in the sequence; its first token is predicted by nothing."""
        return np.flatnonzero(self.weights[1:]) + 1


def pack(shards: Shards, indices: Ints, *, share: bool = False) -> Packed:
    """The packed batch of these sequences, in this order.

    ``share``: ``indices`` are whole groups of the shards, and the beginning that a group has in common is laid once.
    """
    examples = [shards[int(index)] for index in indices]
    size = shards.group if share else 1
    return pack_groups([examples[at : at + size] for at in range(0, len(examples), size)])


def pack_sequences(sequences: SequenceOf[Example]) -> Packed:
    """As ``pack``, from examples in memory, which share nothing."""
    return pack_groups([[example] for example in sequences])


def pack_groups(groups: SequenceOf[SequenceOf[Example]]) -> Packed:
    """Sequences group by group; what one begins with in common with the first of its group is laid once."""
    laid: list[_Laid] = []
    total = 0
    for group in groups:
        head = len(laid)
        for ids, weights in group:
            shared = shared_tokens(group[0][0], ids) if len(laid) > head else 0
            own = np.arange(total, total + len(ids) - shared)
            places = np.concatenate([laid[head].places[:shared], own]) if shared else own
            laid.append(_Laid(ids, weights, head, shared, places))
            total += len(own)
    return _packed(laid)


def _packed(laid: list[_Laid]) -> Packed:
    import torch

    def tensor(parts: Iterable[npt.NDArray[Any]], dtype: type[np.generic] = np.int64) -> Any:
        return torch.from_numpy(np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype))

    lengths = [len(one.ids) - one.shared for one in laid]
    trained = [one.trained for one in laid]
    packed = Packed(
        input_ids=tensor(one.ids[one.shared :] for one in laid)[None],
        position_ids=tensor(np.arange(one.shared, len(one.ids)) for one in laid)[None],
        lengths=tuple(lengths),
        boundaries=_boundaries(lengths),
        predictors=tensor(one.places[at - 1] for one, at in zip(laid, trained, strict=True)),
        targets=tensor(one.ids[at] for one, at in zip(laid, trained, strict=True)),
        owners=torch.arange(len(laid)).repeat_interleave(
            torch.tensor([len(at) for at in trained], dtype=torch.int64)
        ),
        last=tensor(one.places[-1:] for one in laid),
    )
    if any(one.weights.dtype != np.bool_ for one in laid):
        weights = tensor((one.weights[at] for one, at in zip(laid, trained, strict=True)), np.float32)
        packed = packed._replace(weights=weights)
    if not any(one.shared for one in laid):
        return packed
    return packed._replace(
        shared=tuple(one.shared for one in laid),
        heads=tuple(one.head for one in laid),
        key_index=tensor(one.places for one in laid),
        key_boundaries=_boundaries([len(one.ids) for one in laid]),
    )


def _boundaries(lengths: list[int]) -> Any:
    import torch

    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
