"""How sure a score is, and whether one model is better than another. 95 % intervals, two-sided tests.

All randomness is seeded: the same samples give the same interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 9_999
_EXACT_PAIRS = 14  # up to 2^14 sign patterns are enumerated, which costs no more than drawing 9,999
_BLOCK_ELEMENTS = 4_000_000  # bounds the memory of one block of resamples


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Model minus baseline over the same samples."""

    difference: float
    interval: Interval
    p: float
    test: Literal["mcnemar_exact", "sign_flip_exact", "sign_flip"]
    n: int
    higher: int
    """Samples on which the model scores higher than the baseline."""
    lower: int


def wilson_interval(successes: int, *, trials: int) -> Interval:
    """Interval of a share (Wilson, 1927, "Probable inference, the law of succession, and statistical
    inference").

    Unlike the usual normal one it stays inside [0, 1] and says something when no success was seen.
    """
    share = successes / trials
    centre = share + Z**2 / (2 * trials)
    half = Z * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    scale = 1 + Z**2 / trials
    # The ends are exact where they are known, free of rounding.
    low = 0.0 if successes == 0 else (centre - half) / scale
    return Interval(low, 1.0 if successes == trials else (centre + half) / scale)


def bootstrap_interval(values: Sequence[float], *, seed: int) -> Interval:
    """Percentile interval of the mean over 9,999 resamples (Efron and Tibshirani, 1993, chapter 13)."""
    sample = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [
        sample[generator.integers(len(sample), size=(count, len(sample)))].mean(axis=1)
        for count in _blocks(RESAMPLES, len(sample))
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(low), float(high))


def mcnemar(baseline: Sequence[bool], model: Sequence[bool]) -> PairedTest:
    """Exact McNemar test of two shares over the same samples: a binomial test of the samples that differ.

    The interval is Wald's after adding one sample of either change (Bonett and Price, 2012,
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data").
    """
    n = _same_length(baseline, model)
    higher = sum(after and not before for before, after in zip(baseline, model, strict=True))
    lower = sum(before and not after for before, after in zip(baseline, model, strict=True))
    differing = higher + lower
    tail = sum(math.comb(differing, count) for count in range(min(higher, lower) + 1))
    up, down = (higher + 1) / (n + 2), (lower + 1) / (n + 2)
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return PairedTest(
        difference=(higher - lower) / n,
        interval=Interval(max(-1.0, up - down - half), min(1.0, up - down + half)),
        p=min(1.0, 2 * tail / 2**differing),
        test="mcnemar_exact",
        n=n,
        higher=higher,
        lower=lower,
    )


def sign_flip(baseline: Sequence[float], model: Sequence[float], *, seed: int) -> PairedTest:
    """Permutation test of a mean paired difference: without an effect, every sign pattern is equally likely.

    All patterns are enumerated where at most 14 samples differ; else 9,999 are drawn and the observed one is
    counted with them (Phipson and Smyth, 2010, "Permutation p-values should never be zero"), so p is at least
    0.0001. The interval is the bootstrap's of the paired difference.
    """
    n = _same_length(baseline, model)
    differences = np.asarray(model, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    differing = differences[differences != 0]  # a sample without a difference has no sign to flip
    exact = len(differing) <= _EXACT_PAIRS
    return PairedTest(
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences.tolist(), seed=seed),
        p=_exact_p(differing) if exact else _drawn_p(differing, seed),
        test="sign_flip_exact" if exact else "sign_flip",
        n=n,
        higher=int((differences > 0).sum()),
        lower=int((differences < 0).sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that stay honest over all of the tests together (Holm, 1979, "A simple sequentially rejective
    multiple test procedure"), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _exact_p(differences: NDArray[np.float64]) -> float:
    patterns = np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences)) & 1
    return float(_as_extreme(2.0 * patterns - 1, differences).mean())


def _drawn_p(differences: NDArray[np.float64], seed: int) -> float:
    generator = np.random.default_rng(seed)
    extreme = 0
    for count in _blocks(RESAMPLES, len(differences)):
        signs = 2.0 * generator.integers(2, size=(count, len(differences)), dtype=np.int8) - 1
        extreme += int(_as_extreme(signs, differences).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def _as_extreme(signs: NDArray[np.floating], differences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of ``signs`` (pattern x sample) give a sum at least as far from 0 as the observed one."""
    tolerance = 1e-12 * np.abs(differences).sum()  # sums of the same numbers in another order are ties
    return np.abs(signs @ differences) >= abs(differences.sum()) - tolerance


def _blocks(total: int, width: int) -> list[int]:
    size = max(1, _BLOCK_ELEMENTS // width)
    return [min(size, total - start) for start in range(0, total, size)]


def _same_length(baseline: Sequence[object], model: Sequence[object]) -> int:
    if len(baseline) != len(model):
        raise ValueError(f"{len(baseline)} samples of the baseline, {len(model)} of the model")
    return len(model)
