"""Shares of what is chosen: of a department, of a source, of any field that records have.

A room is what a step may take: so many records or tokens, of which each quota reserves and forbids a part. Steps ask it
record by record, so that every way of choosing keeps every quota.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import model_validator

from xinglin.config.base import Config
from xinglin.config.parts import Fraction
from xinglin.data.records import Record
from xinglin.errors import DataError
from xinglin.plugins import nearest
from xinglin.selection.geometry import Floats, Ints, Mask

SOURCE = "source"
"""The field that every record has: the file that it came from."""
NONE = "(none)"
"""The value of a field that a record does not have."""
SLACK = 1e-9


class Quota(Config):
    """How much of what is chosen may, or has to, have some value in a field."""

    field: str
    """``source`` (the file), or a key of ``meta``, such as ``department``."""
    value: str | None = None
    """Whose share it is. Default: of each value alone."""
    least: Fraction = 0.0
    """At least this share, rounded down, if there are as many."""
    most: Fraction = 1.0
    """At most this share, rounded down."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least} is above most {self.most}; exchange them")
        return self


class Groups(NamedTuple):
    """The values of a field in a split."""

    names: list[str]
    codes: Ints
    """(N,) places in ``names``."""


def value_of(record: Record, field: str) -> str:
    """What a record has in ``field``."""
    if field == SOURCE:
        return record.origin.file
    value: Any = record.meta.get(field)
    if value is None or value == "":
        return NONE
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Limits:
    """What of a field's values has to be there, and may be, in the unit of the room."""

    codes: Ints
    least: Floats
    most: Floats
    held: Floats


class Room:
    """What a step may still take.

    Args:
        size: of all that is chosen when the room is full, in the unit of ``costs``.
        costs: (N,) of each record: 1, or its tokens.
        candidates: (N,) what can be taken.
        held: (N,) what is there already and counts for the shares; ``counted`` of it counts for ``size`` too.
    """

    def __init__(
        self,
        size: float,
        costs: Floats,
        candidates: Mask,
        *,
        held: Mask,
        counted: float,
        quotas: Sequence[Quota] = (),
        groups: Mapping[str, Groups],
    ):
        self.costs, self._candidates = costs, candidates.copy()
        self.left = min(size - counted, float(costs[candidates].sum()))
        whole = self.left + float(costs[held].sum())
        fields = dict.fromkeys(quota.field for quota in quotas)
        self._limits = [
            self._limit([q for q in quotas if q.field == field], groups[field], whole, held)
            for field in fields
        ]

    @property
    def full(self) -> bool:
        return self.left <= 0

    @property
    def open(self) -> Mask:
        """(N,) what quotas let in next."""
        mask = self._candidates.copy()
        for limits in self._limits:
            mask &= self._admitted(limits, limits.codes, self.costs)
        return mask

    def admits(self, index: int) -> bool:
        """Whether quotas let a record in now."""
        cost = self.costs[index]
        return bool(self._candidates[index]) and all(
            self._admitted(limits, limits.codes[index], cost) for limits in self._limits
        )

    def take(self, index: int) -> bool:
        """Let a record in; the first that is larger than what is left closes the room instead."""
        cost = float(self.costs[index])
        if cost > self.left + SLACK:
            self.left = 0.0
            return False
        self._candidates[index] = False
        self.left -= cost
        for limits in self._limits:
            limits.held[limits.codes[index]] += cost
        return True

    def release(self) -> None:
        """Give up what least shares have reserved."""
        for limits in self._limits:
            limits.least[:] = 0

    def _admitted(self, limits: Limits, codes: Any, costs: Any) -> Any:
        """Whether records of these groups and costs leave no group over its share, and room for what others need."""
        owed = np.maximum(0, limits.least - limits.held)
        paid = np.minimum(costs, owed[codes])
        leaves_room = (paid >= costs - SLACK) | (self.left - costs >= owed.sum() - paid - SLACK)
        return leaves_room & (limits.held[codes] + costs <= limits.most[codes] + SLACK)

    def _limit(self, quotas: list[Quota], groups: Groups, whole: float, held: Mask) -> Limits:
        number = len(groups.names)
        least, most = np.zeros(number), np.full(number, np.inf)
        for quota in quotas:
            for place in _places(quota, groups):
                least[place] = max(least[place], quota.least * whole)
                most[place] = min(most[place], quota.most * whole if quota.most < 1 else math.inf)
        if (self.costs == 1).all():
            least, most = np.floor(least + SLACK), np.floor(most + SLACK)
        have = _sums(groups.codes, self.costs, held, number)
        there = have + _sums(groups.codes, self.costs, self._candidates, number)
        return Limits(groups.codes, np.minimum(least, there), most, have)


def require(quotas: Sequence[Quota], groups: Mapping[str, Groups]) -> None:
    """Refuse quotas that no choice can keep.

    Raises:
        DataError: one names a value that no record has, or the least shares of a field are more than everything.
    """
    for field in dict.fromkeys(quota.field for quota in quotas):
        least = np.zeros(len(groups[field].names))
        for quota in quotas:
            if quota.field == field:
                places = _places(quota, groups[field])
                least[places] = np.maximum(least[places], quota.least)
        if least.sum() > 1 + SLACK:
            raise DataError(
                f"quotas of '{field}': the least shares of its {len(least)} values are more than everything "
                f"({least.sum():.0%}); lower them"
            )


def _places(quota: Quota, groups: Groups) -> list[int]:
    """The values that it is about, as places in the names."""
    if quota.value is None:
        return list(range(len(groups.names)))
    if quota.value not in groups.names:
        near = nearest(quota.value, groups.names)
        raise DataError(f"quotas: no record has '{quota.value}' in '{quota.field}'; {near}")
    return [groups.names.index(quota.value)]


def _sums(codes: Ints, costs: Floats, mask: Mask, number: int) -> Floats:
    sums: Floats = np.bincount(codes[mask], weights=costs[mask], minlength=number).astype(np.float64)
    return sums
