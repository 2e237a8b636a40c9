"""Intervals and tests against known values, brute force, and their own promise: coverage and false alarms."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.evaluate.statistics import (
    RESAMPLES,
    bootstrap_interval,
    holm,
    mcnemar,
    sign_flip,
    wilson_interval,
)


def table(*, both: int, higher: int, lower: int, neither: int) -> tuple[list[bool], list[bool]]:
    pairs = (
        [(True, True)] * both
        + [(False, True)] * higher
        + [(True, False)] * lower
        + [(False, False)] * neither
    )
    return [before for before, _ in pairs], [after for _, after in pairs]


def test_wilson_known_values() -> None:
    # Newcombe, 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    assert wilson_interval(81, trials=263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, trials=148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, trials=20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, trials=29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_equation(case: tuple[int, int]) -> None:
    successes, trials = case
    share, interval = successes / trials, wilson_interval(successes, trials=trials)
    assert 0 <= interval.low <= share <= interval.high <= 1
    for end in interval:  # the shares that lie exactly Z standard errors from the one seen
        if 0 < end < 1:
            distance = abs(share - end) / math.sqrt(end * (1 - end) / trials)
            assert distance == pytest.approx(1.959964, rel=1e-6)


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=2_000)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    low, high = bootstrap_interval(values.tolist(), seed=0)
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_bootstrap_is_seeded_and_needs_no_spread() -> None:
    values = np.random.default_rng(1).random(50).tolist()
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    assert bootstrap_interval([0.25], seed=0) == (0.25, 0.25)


def test_bootstrap_in_blocks_stays_within_memory() -> None:
    values = [float(index % 7) for index in range(20_000)]  # 9,999 x 20,000 at once would be 1.6 GB
    tracemalloc.start()
    low, high = bootstrap_interval(values, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < np.mean(values) < high
    assert peak < 200e6


def test_mcnemar_known_value() -> None:
    # Fagerland, Lydersen and Laake, 2013, "The McNemar test for binary matched-pairs data": airway
    # hyper-responsiveness, 7 and 1 discordant of 21 pairs: exact p = 0.070.
    result = mcnemar(*table(both=1, higher=7, lower=1, neither=12))
    assert result.p == pytest.approx(0.0703125)
    assert (result.difference, result.n, result.higher, result.lower) == (6 / 21, 21, 7, 1)
    assert result.test == "mcnemar_exact"
    # Bonett and Price's interval of the same table, by hand: (7 - 1)/23 -+ 1.96 sqrt((10/23 - (6/23)^2)/23).
    assert result.interval == pytest.approx((0.0134, 0.5083), abs=5e-4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=10))
def test_mcnemar_equals_enumeration(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    signs = [int(b) - int(a) for a, b in pairs if a != b]
    patterns = list(itertools.product((-1, 1), repeat=len(signs)))
    expected = sum(abs(sum(pattern)) >= abs(sum(signs)) for pattern in patterns) / len(patterns)
    assert mcnemar(before, after).p == pytest.approx(expected)


def test_mcnemar_of_many_samples() -> None:
    result = mcnemar(*table(both=4_000, higher=3_000, lower=1_000, neither=3_000))
    assert 0 < result.p < 1e-200
    assert mcnemar(*table(both=5, higher=0, lower=0, neither=5)).p == 1.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8), st.integers(0, 9))
def test_sign_flip_equals_enumeration(pairs: list[tuple[int, int]], seed: int) -> None:
    before, after = [pair[0] / 10 for pair in pairs], [pair[1] / 10 for pair in pairs]
    whole = [b - a for a, b in pairs]
    patterns = list(itertools.product((-1, 1), repeat=len(whole)))
    flipped = [abs(sum(s * d for s, d in zip(pattern, whole, strict=True))) for pattern in patterns]
    result = sign_flip(before, after, seed=seed)
    assert result.p == pytest.approx(sum(value >= abs(sum(whole)) for value in flipped) / len(patterns))
    assert result.test == "sign_flip_exact"
    assert result.difference == pytest.approx(sum(whole) / 10 / len(whole))


def test_drawn_sign_flips_agree_with_the_exact_binomial() -> None:
    # Equal differences: the number of positive signs is binomial, so McNemar's exact p is the truth.
    before, after = table(both=0, higher=20, lower=10, neither=0)
    drawn = sign_flip([float(value) for value in before], [float(value) for value in after], seed=5)
    assert drawn.test == "sign_flip"
    assert drawn.p == pytest.approx(mcnemar(before, after).p, abs=0.01)
    assert (drawn.higher, drawn.lower) == (20, 10)


def test_sign_flip_never_says_zero() -> None:
    clear = sign_flip([0.0] * 50, [1.0] * 50, seed=0)
    assert clear.p == 1 / (RESAMPLES + 1)
    assert clear.interval == (1.0, 1.0)
    assert sign_flip([0.3] * 50, [0.3] * 50, seed=0).p == 1.0


def test_false_alarms_are_as_rare_as_promised() -> None:
    generator = np.random.default_rng(0)
    alarms = 0
    for seed in range(200):
        before, after = generator.random((2, 12))
        alarms += sign_flip(before.tolist(), after.tolist(), seed=seed).p < 0.05
    assert 2 <= alarms <= 20  # 10 expected; the binomial's 99.9 % range


def test_holm_known_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    assert all(
        adjusted[i] <= adjusted[j]
        for i in range(len(p_values))
        for j in range(len(p_values))
        if p_values[i] < p_values[j]
    )


def test_samples_must_pair_up() -> None:
    with pytest.raises(ValueError, match="3 samples of the baseline, 2 of the model"):
        mcnemar([True] * 3, [True] * 2)
