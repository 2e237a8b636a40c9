"""Planted curves are found again, outliers do not bend them, and the proposal follows the tolerance."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.evaluate.mixture_curve import Curve, critical_share, fit, fit_checked

SHARES = [0.1, 0.3, 0.5, 0.7, 0.9]


def curve(level, drop, exponent):
    """One that falls by ``drop`` between shares of 0.1 and 0.9."""
    unit = Curve(0, 1, exponent)
    return Curve(level, drop / (unit(0.1) - unit(0.9)), exponent)


curves = st.builds(curve, st.floats(0.5, 3), st.floats(0.05, 2), st.sampled_from([0, -1]) | st.floats(-1, 3))


def test_a_power_law_with_a_floor_is_one():
    """1.2 + 0.3 / (x + 0.05) ** 0.7."""
    as_one = Curve(1.2 + 0.3 * 1.05**-0.7, 0.7 * 0.3 * 1.05**-0.7, 0.7)
    for share in (0.0, 0.1, 0.5, 1.0):
        assert as_one(share) == pytest.approx(1.2 + 0.3 / (share + 0.05) ** 0.7)
    line = Curve(2.0, 1.05, -1.0)
    assert [line(share) for share in (0, 0.5, 1)] == pytest.approx([3.0, 2.5, 2.0])


@given(curves, st.floats(0.01, 0.99))
def test_the_share_for_a_loss_is_the_inverse(planted, share):
    assert planted.least_share(planted(share)) == pytest.approx(share, abs=1e-5)
    assert planted.least_share(planted(1.0) - 1e-3) is None


@given(curves)
@settings(deadline=None, max_examples=25)
def test_a_planted_curve_is_found_again(planted):
    found = fit_checked(SHARES, [planted(share) for share in SHARES])
    between = np.linspace(0.1, 0.9, 33)
    assert max(abs(found.curve(x) - planted(x)) for x in between) < 2e-4
    assert found.curve.exponent == pytest.approx(planted.exponent, abs=0.02)
    assert found.curve.slope == pytest.approx(planted.slope, rel=0.03)
    assert found.curve.level == pytest.approx(planted.level, abs=2e-3)
    assert found.residual < 1e-4


def test_the_optimum_is_that_of_a_dense_search():
    random = np.random.default_rng(0)
    planted = Curve(1.2, 0.3, 0.7)
    losses = [planted(share) + random.normal(0, 2e-4) for share in SHARES]

    def cost(curve):
        return sum((curve(share) - loss) ** 2 for share, loss in zip(SHARES, losses, strict=True))

    found = fit(SHARES, losses)
    near = [
        Curve(found.level + a, found.slope + b, found.exponent + c)
        for a in np.linspace(-0.05, 0.05, 21)
        for b in np.linspace(-0.05, 0.05, 21)
        for c in np.linspace(-0.05, 0.05, 21)
    ]
    assert cost(found) <= min(map(cost, near)) * 1.01


def test_one_run_that_went_wrong_does_not_bend_the_curve():
    planted = curve(1.5, 0.4, 1.0)
    shares = np.linspace(0.1, 0.9, 9).tolist()
    losses = [planted(share) for share in shares]
    losses[4] += 0.5
    found = fit_checked(shares, losses)
    others = [share for number, share in enumerate(shares) if number != 4]
    assert max(abs(found.curve(share) - planted(share)) for share in others) < 0.02
    assert found.left_out > 0.15, "and it is seen that something is wrong"


@given(st.lists(st.floats(0.5, 9), min_size=4, max_size=7))
@settings(deadline=None, max_examples=40)
def test_a_curve_never_rises_with_its_own_text(losses):
    found = fit(np.linspace(0.1, 0.9, len(losses)).tolist(), losses)
    values = [found(share) for share in np.linspace(0, 1, 11)]
    assert all(after <= before + 1e-9 for before, after in pairwise(values))
    assert found.slope >= 0


@given(curves, st.lists(st.floats(0, 3), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_more_tolerance_never_means_less_domain_text(general, tolerances):
    base = general(0.7)
    proposals = [critical_share(general, limit=base + each, low=0.1, high=0.9) for each in sorted(tolerances)]
    known = [-1.0 if proposal is None else proposal for proposal in proposals]
    assert known == sorted(known)
    for proposal, tolerance in zip(proposals, sorted(tolerances), strict=True):
        if proposal is not None:
            assert 0.1 <= proposal <= 0.9 and general(1 - proposal) <= base + tolerance + 1e-9
        if proposal is not None and proposal < 0.9:
            assert general(1 - proposal - 1e-3) > base + tolerance, "none larger would do"


def test_the_critical_share_by_hand():
    general = Curve(2.0, 0.1, 1.0)
    limit = 2.0 + 0.1 * (1.05 / (0.4 + 0.05) - 1)
    assert critical_share(general, limit=limit, low=0.1, high=0.9) == pytest.approx(0.6)
    assert critical_share(general, limit=9.0, low=0.1, high=0.9) == 0.9
    assert critical_share(general, limit=1.99, low=0.1, high=0.9) is None
    flat = Curve(2.0, 0.0, 1.0)
    assert critical_share(flat, limit=2.0, low=0.1, high=0.9) == 0.9
    assert critical_share(flat, limit=1.9, low=0.1, high=0.9) is None
