"""The records of a split while steps drop some and take others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xinglin.data.removal import Removal
from xinglin.selection.geometry import Floats, Ints, Mask, Points
from xinglin.selection.quotas import Groups, Quota, Room
from xinglin.selection.summary import mean_ranks

STEP = "select"


@dataclass(frozen=True)
class Size:
    """How much is chosen."""

    keep: float | int | None = None
    """A share of the records that scores decide on, or a number of them."""
    tokens: int | None = None


@dataclass
class Pool:
    """Candidates, what was taken of them, and why others were dropped.

    Protected records are no candidates: they are in what comes out, whatever is chosen beside them.
    """

    scores: Mapping[str, Floats]
    """Title of a score -> (N,); nan where it says nothing about a record."""
    protected: Mask
    tokens: Floats
    """(N,) of each record."""
    groups: Mapping[str, Groups]
    """Of every field that a quota names."""
    quotas: Sequence[Quota]
    embed: Callable[[], Points]
    """Where the records lie, (N, d) of length 1; made when a step asks for it first."""
    seed: int
    removals: dict[int, Removal] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    takes: bool = False
    """Whether a step takes at all; else all that is not dropped is chosen."""
    unfilled: float = 0.0
    """What quotas left of the last step's room, in its unit."""

    @property
    def candidates(self) -> Mask:
        """(N,) what is neither dropped nor taken."""
        mask = ~self.protected
        mask[list(self.removals)] = False
        mask[self.taken] = False
        return mask

    @property
    def chosen(self) -> Mask:
        """(N,) what steps took, or all candidates if none takes, and what is protected."""
        mask = self.protected.copy() if self.takes else self.protected | self.candidates
        mask[self.taken] = True
        return mask

    def drop(self, which: Mask, reason: str, detail: Callable[[int], str]) -> None:
        """Candidates that are never taken."""
        for index in np.flatnonzero(which & self.candidates).tolist():
            self.removals[index] = Removal(STEP, reason, detail(index))

    def ranking(self, score: str | list[str], *, lowest: bool = False) -> Ints:
        """Candidates from best to worst by a score, by the product of their ranks if several are named; the earlier of
        equal ones first, and none that lack a score."""
        titles = [score] if isinstance(score, str) else score
        index = np.flatnonzero(
            self.candidates & ~np.isnan([self.scores[title] for title in titles]).any(axis=0)
        )
        sign = -1 if lowest else 1
        columns = [sign * self.scores[title][index] for title in titles]
        value = (
            columns[0] if len(columns) == 1 else np.prod([mean_ranks(column) for column in columns], axis=0)
        )
        return index[np.argsort(-value, kind="stable")]

    def room(self, size: Size, *, among: Mask | None = None) -> Room:
        """What a step may take so that ``size`` is chosen afterwards, by all steps together.

        Args:
            among: (N,) what it may take. Default: all candidates.
        """
        costs = self.tokens if size.tokens is not None else np.ones(len(self.protected))
        if size.tokens is not None:
            whole = float(size.tokens)
        elif isinstance(size.keep, float):
            whole = float(round(size.keep * np.count_nonzero(~self.protected)))
        else:
            whole = float(size.keep or 0)
        held = self.protected.copy()
        held[self.taken] = True
        return Room(
            whole,
            costs,
            self.candidates if among is None else among,
            held=held,
            counted=float(costs[self.taken].sum()),
            quotas=self.quotas,
            groups=self.groups,
        )

    def fill(self, room: Room, order: Callable[[], Iterable[int]]) -> None:
        """Take what quotas let in, in ``order``, until the room is full.

        What least shares have reserved for records that ``order`` does not have goes to others in a second round.
        """
        self.takes = True
        self._go(room, order())
        if not room.full:
            room.release()
            self._go(room, order())
        self.unfilled = room.left

    def _go(self, room: Room, order: Iterable[int]) -> None:
        for index in order:
            if room.full:
                break
            if room.admits(index) and room.take(index):
                self.taken.append(index)
