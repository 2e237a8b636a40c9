"""How a loss depends on the share of its own text in a mixture, and the share of domain text that follows from it.

At a fixed model and number of tokens, the D-CPT law (arXiv 2406.01375) is a sum of powers of the share x of text like
that which the loss is measured on: r for domain text, 1 - r for general text. Few points support one power,

    loss(x) = level + slope (z ** -exponent - 1) / exponent,    z = (x + EPSILON) / (1 + EPSILON)

with slope >= 0 and exponent >= -1: from a straight line (-1) over a logarithm (0) to a floor and
C / (x + EPSILON) ** exponent, it always falls, and ever less. The largest r at which the general loss stays within a
tolerance of that of the model at the start is the critical mixture ratio (arXiv 2407.17467).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log1p
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EPSILON = 0.05
"""Keeps the loss finite where a mixture has no such text at all."""
HUBER = 1e-3
"""Nats: points further from the curve count by their distance, not its square. The law's authors take the same."""
EXPONENTS = np.linspace(-1, 5, 61)
MIN_POINTS = 4
"""So that a curve of three numbers can be fitted without any one of them."""
_REFINED, _SETTLED = 5, 40


@dataclass(frozen=True)
class Curve:
    """A loss in nats per token by the share of its own text."""

    level: float
    """Where all text is of its own kind."""
    slope: float
    exponent: float

    def __call__(self, share: float) -> float:
        z = np.array([(share + EPSILON) / (1 + EPSILON)])
        return self.level + self.slope * float(_bases(z, np.array([self.exponent]))[0, 0])

    def least_share(self, loss: float) -> float | None:
        """The least share with at most this loss; None: no share is enough."""
        if not self.slope:
            return 0.0 if self.level <= loss else None
        above = (loss - self.level) / self.slope
        if self.exponent == 0:
            z = exp(-above)
        elif (bent := self.exponent * above) > -1:
            z = exp(-log1p(bent) / self.exponent)
        elif self.exponent < 0:
            z = 0.0
        else:
            return None
        share = z * (1 + EPSILON) - EPSILON
        return max(0.0, share) if share <= 1 else None


def _bases(z: Floats, exponents: Floats) -> Floats:
    """(exponents, shares): (z ** -exponent - 1) / exponent, which for 0 is -log z."""
    exponents = exponents[:, None]
    safe = np.where(exponents == 0, 1, exponents)
    return np.where(exponents == 0, -np.log(z), np.expm1(-safe * np.log(z)) / safe)


def fit(shares: Sequence[float], losses: Sequence[float]) -> Curve:
    """The curve with the least Huber loss.

    For each of ``EXPONENTS``, and then of finer ones around the best, the other two follow from weighted least squares,
    repeated until the weights settle: no start is needed, and the optimum is that of the whole range.
    """
    z, y = (np.asarray(shares, np.float64) + EPSILON) / (1 + EPSILON), np.asarray(losses, np.float64)
    exponents, found = EXPONENTS, Curve(0, 0, 0)
    for _ in range(_REFINED):
        cost, level, slope = _for_exponents(_bases(z, exponents), y)
        best = int(cost.argmin())
        found = Curve(float(level[best]), float(slope[best]), float(exponents[best]))
        around = exponents[max(0, best - 1)], exponents[min(best + 1, len(exponents) - 1)]
        exponents = np.linspace(*around, 11)
    return found


def _for_exponents(basis: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Per row of ``basis`` the least Huber loss of y = level + slope x basis, that level and that slope."""
    level, slope = _line(basis, y, np.ones_like(basis))
    for _ in range(_SETTLED):
        off = np.abs(level[:, None] + slope[:, None] * basis - y)
        level, slope = _line(basis, y, HUBER / np.maximum(off, HUBER))
    off = np.abs(level[:, None] + slope[:, None] * basis - y)
    cost = np.where(off <= HUBER, off**2 / 2, HUBER * (off - HUBER / 2)).sum(axis=1)
    return cost, level, slope


def _line(basis: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Per row of ``basis`` the weighted least squares of y = level + slope x basis with a slope of at least 0."""
    total = weights.sum(axis=1)
    mean_basis, mean_y = (weights * basis).sum(axis=1) / total, (weights * y).sum(axis=1) / total
    away = basis - mean_basis[:, None]
    slope = (weights * away * y).sum(axis=1) / np.maximum((weights * away**2).sum(axis=1), 1e-300)
    slope = np.maximum(slope, 0)
    return mean_y - slope * mean_basis, slope


class Checked(NamedTuple):
    """A curve, and how far it can be trusted."""

    curve: Curve
    residual: float
    """Root mean square distance of the points from it."""
    left_out: float
    """The same of each point from the curve that is fitted to the others."""
    without: tuple[Curve, ...]
    """Those curves."""


def fit_checked(shares: Sequence[float], losses: Sequence[float]) -> Checked:
    """The curve through at least ``MIN_POINTS`` points, and those without one of them."""
    every = range(len(shares))
    curve = fit(shares, losses)
    without = tuple(
        fit([shares[i] for i in every if i != out], [losses[i] for i in every if i != out]) for out in every
    )
    residuals = [curve(share) - loss for share, loss in zip(shares, losses, strict=True)]
    missed = [each(share) - loss for each, share, loss in zip(without, shares, losses, strict=True)]
    return Checked(curve, _root_mean_square(residuals), _root_mean_square(missed), without)


def critical_share(general: Curve, *, limit: float, low: float, high: float) -> float | None:
    """The largest domain share within ``low`` .. ``high``, the shares that were tried, at which the general loss is at
    most ``limit``; None: it is above that at ``low`` already."""
    needed = general.least_share(limit)
    if needed is None or 1 - needed < low:
        return None
    return min(high, 1 - needed)


def _root_mean_square(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
