"""Loss terms against loops in float64, and their gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xinglin.train.rl.losses import clipped_policy_loss, clipped_value_loss, divergence


def numbers(seed, count=30):
    return torch.randn(4, count, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10_000), low=st.sampled_from([0.1, 0.2]), high=st.sampled_from([0.2, 0.28]))
def test_the_policy_loss_follows_the_definition(seed, low, high):
    now, old, advantages, _ = numbers(seed)
    now = (old + 0.3 * now).requires_grad_()
    found = clipped_policy_loss(now - old, advantages, low=low, high=high)
    found.losses.sum().backward()
    losses = found.losses.tolist()
    for i, (a, b, advantage) in enumerate(zip(now.tolist(), old.tolist(), advantages.tolist(), strict=True)):
        ratio = math.exp(a - b)
        bound = min(max(ratio, 1 - low), 1 + high)
        assert losses[i] == pytest.approx(-min(ratio * advantage, bound * advantage), abs=1e-4)
        stopped = bound * advantage < ratio * advantage
        assert bool(found.clipped[i]) == stopped
        expected = 0.0 if stopped else -ratio * advantage
        assert float(now.grad[i]) == pytest.approx(expected, abs=1e-4)


@given(seed=st.integers(0, 10_000), clip=st.sampled_from([0.05, 0.2, 1.0]))
def test_the_value_loss_follows_the_definition(seed, clip):
    values, old, returns, _ = numbers(seed)
    found = clipped_value_loss(values, old, returns, clip=clip)
    for i, (value, before, target) in enumerate(
        zip(values.tolist(), old.tolist(), returns.tolist(), strict=True)
    ):
        near = before + min(max(value - before, -clip), clip)
        expected = max((value - target) ** 2, (near - target) ** 2) / 2
        assert float(found.losses[i]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    free = clipped_value_loss(values, old, returns, clip=None)
    torch.testing.assert_close(free.losses, (values - returns).square() / 2)
    assert not free.clipped.any()


def test_the_divergence_is_the_kl_in_expectation():
    policy, other = (
        torch.randn(50, generator=torch.Generator().manual_seed(i)).log_softmax(0) for i in (0, 1)
    )
    estimates = divergence(policy, other)
    assert (estimates >= 0).all() and divergence(policy, policy).abs().max() == 0
    expected = (policy.exp() * estimates).sum()
    torch.testing.assert_close(expected, (policy.exp() * (policy - other)).sum())
