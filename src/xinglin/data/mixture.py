"""The order of pretraining: sequences of several splits in fixed shares of the tokens, shuffled in windows of parts.

Each split is read epoch after epoch without end. An epoch takes its parts in a shuffled order, the first one alone and
then several together as a window, within which sequences are shuffled. Step n follows from the lengths of the
sequences, the shares and the seed; when a part was tokenised plays no role.

Splits are mixed by start-time fair queueing (Goyal et al., 1996): a sequence that begins after c tokens of a split
with share s stands at c / s, and sequences are taken in that order. At every moment each split has had its share,
give or take its longest sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xinglin.data.packing import Ints, Plan, Step
from xinglin.data.shards import Shards
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


class Taken(NamedTuple):
    tokens: int
    sequences: int
    epochs: float


class Course:
    """The endless order of one split."""

    def __init__(self, parts: Parts, *, number: int, seed: int, window_parts: int):
        self.parts, self.number, self.seed = parts, number, seed
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

    def epochs_at(self, tokens: int) -> float:
        """Epochs that are over after so many tokens."""
        window = int(np.searchsorted(self._starts, tokens, side="right")) - 1
        before, after = self.epochs_before(window), self.epochs_before(window + 1)
        if tokens == self._starts[window]:
            return before
        size = int(self.window(window).lengths.sum())
        return before + (after - before) * (tokens - self._starts[window]) / size

    def between(self, low: float, high: float) -> Window:
        """The sequences that begin after at least ``low`` and less than ``high`` tokens."""
        window = max(0, int(np.searchsorted(self._starts, low, side="right")) - 1)
        found = []
        while self.tokens_before(window) < high:
            each = self.window(window)
            found.append(each.only((each.starts >= low) & (each.starts < high)))
            window += 1
        if not found:
            return Window(*(np.zeros(0, np.int64) for _ in Window._fields))
        return Window(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


@dataclass(frozen=True)
class Pace:
    """How much goes into a step, and when the steps end."""

    micro_batch_tokens: int
    batch_size: int | None = None
    batch_tokens: int | None = None
    epochs: float = 1.0
    """Of the first split."""
    max_steps: int | None = None
    processes: int = 1


class Mixture:
    """The steps over several splits. The first one's epochs are counted; the others are replayed as long as it lasts.

    Args:
        courses: the splits, numbered from 0.
        shares: of the tokens, one for each; they add up to 1.
        pace: sizes and end.
    """

    def __init__(self, courses: Sequence[Course], shares: Sequence[float], pace: Pace):
        self.courses, self.shares, self.pace = courses, shares, pace
        parts = len(courses[0].parts)
        self._parts = round(pace.epochs * parts, 6)
        """How many parts of the first split are taken in all; part of the last one, maybe."""
        self._first_steps = [0]
        self._segments: dict[int, tuple[Window, Plan]] = {}
        self._length = self._lay_out()

    def __len__(self) -> int:
        """Steps that the learning rate is laid out for: exact for splits of one part, else extrapolated from the
        first one by bytes, whatever is tokenised already."""
        return self._length

    def __getitem__(self, step: int) -> Step:
        if not 0 <= step < (self.pace.max_steps or step + 1):
            raise IndexError(step)
        segment = self._segment_of(step)
        window, plan = self._segment(segment)
        found = plan[step - self._first_steps[segment]]
        before, after = (self.courses[0].epochs_before(each) for each in (segment, segment + 1))
        return Step(
            epoch=before + (after - before) * found.epoch,
            micro_batches=tuple(
                tuple(window.numbers[batch] for batch in process) for process in found.micro_batches
            ),
            tokens=found.tokens,
            trained_tokens=found.trained_tokens,
            groups=found.groups,
        )

    def _segment_of(self, step: int) -> int:
        """Which window of the first split a step belongs to."""
        while self._first_steps[-1] <= step:
            segment = len(self._first_steps) - 1
            share = self._kept(segment)
            if not share:
                raise IndexError(step)
            steps = len(self._segment(segment)[1])
            kept = steps if share == 1 else min(steps, max(1, round(steps * share)))
            self._first_steps.append(self._first_steps[-1] + kept)
        return int(np.searchsorted(self._first_steps, step, side="right")) - 1

    def _kept(self, segment: int) -> float:
        """How much of a window of the first split lies within the epochs asked for."""
        parts = len(self.courses[0].parts)
        begins, ends = (self.courses[0].epochs_before(each) * parts for each in (segment, segment + 1))
        return float(np.clip((self._parts - begins) / (ends - begins), 0, 1))

    def _segment(self, segment: int) -> tuple[Window, Plan]:
        """All sequences between the beginnings of two windows of the first split, and the steps over them."""
        if segment not in self._segments:
            bounds = [self.courses[0].tokens_before(each) / self.shares[0] for each in (segment, segment + 1)]
            found = [self.courses[0].window(segment)]
            found += [
                course.between(*(bound * share for bound in bounds))
                for course, share in zip(self.courses[1:], self.shares[1:], strict=True)
            ]
            window = found[0] if len(found) == 1 else _merged(found, self.shares)
            plan = Plan(
                window.lengths,
                window.counts,
                micro_batch_tokens=self.pace.micro_batch_tokens,
                batch_size=self.pace.batch_size,
                batch_tokens=self.pace.batch_tokens,
                processes=self.pace.processes,
                shuffle=False,
            )
            self._segments = {segment: (window, plan)}
        return self._segments[segment]

    def _lay_out(self) -> int:
        first = self.courses[0]
        if all(len(course.parts) == 1 for course in self.courses):
            steps = self._count()
        else:
            window = self._segment(0)[0]
            spans = first.parts.spans
            scale = spans[-1].end / sum(spans[part].end - spans[part].start for part in first.members(0))
            tokens, sequences = int(window.lengths.sum()), len(window.lengths)
            pace = self.pace
            size = tokens / pace.batch_tokens if pace.batch_tokens else sequences / (pace.batch_size or 1)
            # The last step of a window is half full on average.
            steps = round(pace.epochs * (size * scale + first.per_epoch / 2))
        return min(max(1, steps), self.pace.max_steps or max(1, steps))

    def _count(self) -> int:
        step = 0
        while True:
            try:
                self._segment_of(step)
            except IndexError:
                return step
            step = self._first_steps[-1]

    def taken(self, steps: int) -> list[Taken]:
        """What the first ``steps`` steps read of each split."""
        tokens = np.zeros(len(self.courses), dtype=np.int64)
        sequences = tokens.copy()
        segment = 0
        while segment < len(self._first_steps) - 1 and self._first_steps[segment] < steps:
            window, plan = self._segment(segment)
            done = min(steps, self._first_steps[segment + 1]) - self._first_steps[segment]
            if done < len(plan):
                window = window.only(np.arange(sum(plan[step].groups for step in range(done))))
            courses = window.numbers >> SOURCE_BITS
            sequences += np.bincount(courses, minlength=len(tokens))
            tokens += np.bincount(courses, weights=window.lengths, minlength=len(tokens)).astype(np.int64)
            segment += 1
        return [
            Taken(size, number, course.epochs_at(size))
            for course, size, number in zip(self.courses, tokens.tolist(), sequences.tolist(), strict=True)
        ]

    def shards(self, number: int) -> tuple[Shards, int]:
        """The shards that sequence ``number`` is in, and its position there."""
        course, part, position = split_number(number)
        return self.courses[course].parts[part], position


def split_number(number: int) -> tuple[int, int, int]:
    """Source, part and position of a sequence's number."""
    part = number >> PART_BITS & (1 << SOURCE_BITS - PART_BITS) - 1
    return number >> SOURCE_BITS, part, number & (1 << PART_BITS) - 1


def _merged(windows: Sequence[Window], shares: Sequence[float]) -> Window:
    together = Window(*(np.concatenate(columns) for columns in zip(*windows, strict=True)))
    sizes = [len(window.numbers) for window in windows]
    at: npt.NDArray[np.float64] = together.starts / np.repeat(shares, sizes)
    return together.only(np.lexsort((np.repeat(np.arange(len(windows)), sizes), at)))
