"""The order of one split that is read epoch after epoch, without end or up to a number of epochs.

An epoch takes the parts of the split in a shuffled order, the first one alone and then several together as a window,
within which sequences are shuffled. All follows from the lengths of the sequences and the seed; when a part was
tokenised plays no role.
"""

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xinglin.data.packing import Ints
from xinglin.data.stream import Parts

PART_BITS, SOURCE_BITS = 32, 56
"""A sequence's number: source << 56 | part << 32 | position in the part."""


class Window(NamedTuple):
    """Sequences of one split, in order."""

    numbers: Ints
    lengths: Ints
    counts: Ints
    starts: Ints
    """(S,) tokens of the split, from its beginning, before each sequence."""

    def only(self, kept: npt.NDArray[np.bool_] | Ints) -> "Window":
        return Window(*(column[kept] for column in self))


class Size(NamedTuple):
    """Of an epoch."""

    tokens: float
    sequences: float


class Course:
    """The order of one split, which ends after ``most`` epochs."""

    def __init__(self, parts: Parts, *, number: int, seed: int, window_parts: int, most: float = inf):
        self.parts, self.number, self.seed, self.most = parts, number, seed, most
        self._cuts = [0, *range(1, len(parts), window_parts), len(parts)]
        self._starts = [0]
        self._windows: dict[int, Window] = {}
        parts.order = [part for window in range(self.per_epoch) for part in self.members(window)]

    @property
    def per_epoch(self) -> int:
        return len(self._cuts) - 1

    def members(self, window: int) -> list[int]:
        """The parts of a window."""
        epoch, place = divmod(window, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch, 0, self.number, 1]).permutation(len(self.parts))
        return order[self._cuts[place] : self._cuts[place + 1]].tolist()

    def epochs_before(self, window: int) -> float:
        """Epochs that are over when the window begins."""
        epoch, place = divmod(window, self.per_epoch)
        return epoch + self._cuts[place] / len(self.parts)

    def tokens_before(self, window: int) -> int:
        """Tokens of the windows before; waits for them to be tokenised."""
        while len(self._starts) <= window:
            last = self.window(len(self._starts) - 1)
            self._starts.append(self._starts[-1] + int(last.lengths.sum()))
        return self._starts[window]

    def window(self, window: int) -> Window:
        if window not in self._windows:
            before = self.tokens_before(window)
            shards = {part: self.parts[part] for part in self.members(window)}
            numbers = [
                (self.number << SOURCE_BITS | part << PART_BITS) + np.arange(len(each))
                for part, each in shards.items()
            ]
            epoch, place = divmod(window, self.per_epoch)
            random = np.random.default_rng([self.seed, epoch, place, self.number])
            order = random.permutation(sum(map(len, numbers)))
            lengths = np.concatenate([each.lengths for each in shards.values()])[order]
            counts = np.concatenate([each.counts for each in shards.values()])[order]
            starts = before + np.cumsum(lengths) - lengths
            self._windows = {window: Window(np.concatenate(numbers)[order], lengths, counts, starts)}
        return self._windows[window]

    def expected(self) -> Size:
        """Of an epoch, if all of it is like its first window, by bytes."""
        window, spans = self.window(0), self.parts.spans
        scale = spans[-1].end / sum(spans[part].end - spans[part].start for part in self.members(0))
        return Size(scale * int(window.lengths.sum()), scale * len(window.lengths))

    def epochs_at(self, tokens: int) -> float:
        """Epochs that are over after so many tokens."""
        window = int(np.searchsorted(self._starts, tokens, side="right")) - 1
        before, after = self.epochs_before(window), self.epochs_before(window + 1)
        if tokens == self._starts[window]:
            return before
        size = int(self.window(window).lengths.sum())
        return before + (after - before) * (tokens - self._starts[window]) / size

    def between(self, low: float, high: float) -> Window:
        """The sequences that begin after at least ``low`` and less than ``high`` tokens, up to the course's end."""
        window = max(0, int(np.searchsorted(self._starts, low, side="right")) - 1)
        found = []
        while self.epochs_before(window) < self.most and self.tokens_before(window) < high:
            each = self.window(window)
            end = min(high, self._end_within(window))
            found.append(each.only((each.starts >= low) & (each.starts < end)))
            window += 1
        if not found:
            return Window(*(np.zeros(0, np.int64) for _ in Window._fields))
        return Window(*(np.concatenate(columns) for columns in zip(*found, strict=True)))

    def _end_within(self, window: int) -> float:
        """Tokens after which the course ends, if it does so within the window."""
        before, after = self.epochs_before(window), self.epochs_before(window + 1)
        if after <= self.most:
            return inf
        size = int(self.window(window).lengths.sum())
        return self.tokens_before(window) + size * (self.most - before) / (after - before)


def split_number(number: int) -> tuple[int, int, int]:
    """Source, part and position of a sequence's number."""
    part = number >> PART_BITS & (1 << SOURCE_BITS - PART_BITS) - 1
    return number >> SOURCE_BITS, part, number & (1 << PART_BITS) - 1
