"""Several splits that are read together: in fixed shares of the tokens, or by priority.

Step n follows from the lengths of the sequences, the order and the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from xinglin.data.course import SOURCE_BITS, Course, Window, split_number
from xinglin.data.packing import Plan, Step
from xinglin.data.shards import Shards


class Taken(NamedTuple):
    tokens: int
    sequences: int
    epochs: float


class Order(Protocol):
    """In which order the sequences of several courses are taken, segment by segment: steps end where segments do."""

    courses: Sequence[Course]

    def segment(self, number: int) -> Window:
        """The sequences of a segment, in order."""
        ...

    def kept(self, number: int) -> float:
        """How much of a segment is taken, from its beginning; 0 behind the last."""
        ...

    def epochs_before(self, number: int) -> float:
        """Epochs of the first course that are over when a segment begins."""
        ...

    def readings(self) -> list[float]:
        """Epochs of each course in all, if the rest of it is like its first window."""
        ...


class Shares:
    """Fixed shares of the tokens, for as many epochs of the first course; the others go on for as long as it lasts.

    Splits are mixed by start-time fair queueing (Goyal et al., 1996): a sequence that begins after c tokens of a split
    with share s stands at c / s, and sequences are taken in that order. At every moment each split has had its share,
    give or take its longest sequence. What a course that has ended leaves goes to the others by their shares.

    Args:
        shares: of the tokens, one for each course; they add up to 1.
    """

    def __init__(self, courses: Sequence[Course], shares: Sequence[float], *, epochs: float):
        self.courses, self.shares, self.epochs = courses, shares, epochs
        self._parts = round(epochs * len(courses[0].parts), 6)
        """How many parts of the first split are taken in all; part of the last one, maybe."""

    def segment(self, number: int) -> Window:
        """All sequences between the beginnings of two windows of the first course."""
        bounds = [self.courses[0].tokens_before(each) / self.shares[0] for each in (number, number + 1)]
        found = [self.courses[0].window(number)]
        found += [
            course.between(*(bound * share for bound in bounds))
            for course, share in zip(self.courses[1:], self.shares[1:], strict=True)
        ]
        times = [window.starts / share for window, share in zip(found, self.shares, strict=True)]
        return found[0] if len(found) == 1 else _merged(found, times)

    def kept(self, number: int) -> float:
        parts = len(self.courses[0].parts)
        begins, ends = (self.epochs_before(each) * parts for each in (number, number + 1))
        return float(np.clip((self._parts - begins) / (ends - begins), 0, 1))

    def epochs_before(self, number: int) -> float:
        return self.courses[0].epochs_before(number)

    def readings(self) -> list[float]:
        tokens = [course.expected().tokens for course in self.courses]
        most = [course.most for course in self.courses]
        return expected_epochs(tokens, self.shares, epochs=self.epochs, most=most)


class Priorities:
    """Every course to its end, those of high priority early: sampling without replacement, in proportion to priority.

    The next sequence is of a course with probability priority x what is left of it, which HuatuoGPT-II (arXiv
    2311.09774) uses to go from web text to instructions. Drawing each sequence a time from the exponential distribution
    with its priority as rate gives that order (Efraimidis and Spirakis, 2006). Instead of drawn times, a sequence that
    begins after a fraction f of its course stands at their quantile, -log(1 - f) / priority: the same shares at every
    moment, without chance, and every epoch of a split is over before its next one begins.

    Args:
        courses: each with an end.
        priorities: one for each.
    """

    def __init__(self, courses: Sequence[Course], priorities: Sequence[float]):
        self.courses, self.priorities = courses, priorities

    def segment(self, number: int) -> Window:
        found = [course.between(0, inf) for course in self.courses]
        times = [
            -np.log1p(-window.starts / window.lengths.sum()) / priority
            for window, priority in zip(found, self.priorities, strict=True)
        ]
        return _merged(found, times)

    def kept(self, number: int) -> float:
        return 1.0 if number == 0 else 0.0

    def epochs_before(self, number: int) -> float:
        return number * self.courses[0].most

    def readings(self) -> list[float]:
        return [course.most for course in self.courses]


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
    """The steps over several splits, whose courses are numbered from 0 in ``order``."""

    def __init__(self, order: Order, pace: Pace):
        self.order, self.pace, self.courses = order, pace, order.courses
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
        before, after = (self.order.epochs_before(each) for each in (segment, segment + 1))
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
        """Which segment a step belongs to."""
        while self._first_steps[-1] <= step:
            segment = len(self._first_steps) - 1
            share = self.order.kept(segment)
            if not share:
                raise IndexError(step)
            steps = len(self._segment(segment)[1])
            kept = steps if share == 1 else min(steps, max(1, round(steps * share)))
            self._first_steps.append(self._first_steps[-1] + kept)
        return int(np.searchsorted(self._first_steps, step, side="right")) - 1

    def _segment(self, segment: int) -> tuple[Window, Plan]:
        """The sequences of a segment, and the steps over them."""
        if segment not in self._segments:
            window = self.order.segment(segment)
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
        if all(len(course.parts) == 1 for course in self.courses):
            return self._count()
        steps = max(1, round(self._extrapolate()))
        return min(steps, self.pace.max_steps or steps)

    def _count(self) -> int:
        step = 0
        while not self.pace.max_steps or step < self.pace.max_steps:
            try:
                self._segment_of(step)
            except IndexError:
                return step
            step = self._first_steps[-1]
        return self.pace.max_steps

    def _extrapolate(self) -> float:
        tokens = sequences = 0.0
        for course, epochs in zip(self.courses, self.order.readings(), strict=True):
            size = course.expected()
            tokens, sequences = tokens + epochs * size.tokens, sequences + epochs * size.sequences
        pace = self.pace
        size = tokens / pace.batch_tokens if pace.batch_tokens else sequences / (pace.batch_size or 1)
        # The last step of a window is half full on average.
        return size + pace.epochs * self.courses[0].per_epoch / 2

    def readings(self) -> list[float]:
        """How often each split will be read, if the rest of it is like its first window."""
        part = min(1.0, self.pace.max_steps / self._extrapolate()) if self.pace.max_steps else 1.0
        return [part * epochs for epochs in self.order.readings()]

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


def expected_epochs(
    tokens: Sequence[float], shares: Sequence[float], *, epochs: float, most: Sequence[float]
) -> list[float]:
    """How often each split is read while the first one is read ``epochs`` times.

    Args:
        tokens: of one epoch of each.
        shares: of all tokens.
        most: epochs after which each ends.
    """
    end = epochs * tokens[0] / shares[0]
    others = zip(tokens[1:], shares[1:], most[1:], strict=True)
    return [epochs, *(min(limit, end * share / size) for size, share, limit in others)]


def _merged(windows: Sequence[Window], times: Sequence[npt.NDArray[np.float64]]) -> Window:
    """The windows as one, in order of the times; at the same time, the first window's come first."""
    together = Window(*(np.concatenate(columns) for columns in zip(*windows, strict=True)))
    which = np.repeat(np.arange(len(windows)), [len(window.numbers) for window in windows])
    return together.only(np.lexsort((which, np.concatenate(times))))
