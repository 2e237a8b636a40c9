"""Advantages against loops in float64 that follow the papers letter by letter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xinglin.train.rl.advantages import (
    adapted_coefficient,
    explained_variance,
    generalized_advantages,
    group_advantages,
    leave_one_out,
    token_rewards,
    whiten,
)


def answers(seed, *, number=5, longest=9):
    random = np.random.default_rng(seed)
    lengths = torch.from_numpy(random.integers(1, longest + 1, number))
    total = int(lengths.sum())
    kl, values = (torch.from_numpy(random.normal(size=total)).float() for _ in range(2))
    return lengths, kl, values, torch.from_numpy(random.normal(size=number)).float()


@given(
    seed=st.integers(0, 10_000), gamma=st.sampled_from([1.0, 0.99, 0.5]), lam=st.sampled_from([0, 0.95, 1.0])
)
def test_rewards_and_advantages_follow_the_definition(seed, gamma, lam):
    lengths, kl, values, scores = answers(seed)
    rewards = token_rewards(kl, scores, lengths, coefficient=0.3)
    found = generalized_advantages(rewards, values, lengths, gamma=gamma, lam=lam)
    start = 0
    for length, score in zip(lengths.tolist(), scores.tolist(), strict=True):
        reward = [-0.3 * each for each in kl[start : start + length].tolist()]
        reward[-1] += score
        value = [*values[start : start + length].tolist(), 0.0]
        delta = [reward[t] + gamma * value[t + 1] - value[t] for t in range(length)]
        expected = [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, length)) for t in range(length)]
        part = slice(start, start + length)
        assert rewards[part].tolist() == pytest.approx(reward, abs=1e-5)
        assert found.advantages[part].tolist() == pytest.approx(expected, abs=1e-4)
        returns = [one + before for one, before in zip(expected, value, strict=False)]
        assert found.returns[part].tolist() == pytest.approx(returns, abs=1e-4)
        start += length


def test_the_score_stands_at_the_last_token_and_nowhere_else():
    rewards = token_rewards(torch.zeros(5), torch.tensor([2.0, -1.0]), torch.tensor([3, 2]), coefficient=1.0)
    assert rewards.tolist() == [0, 0, 2, 0, -1]


def test_with_lambda_one_the_return_is_the_sum_of_what_follows():
    lengths, kl, values, scores = answers(3)
    rewards = token_rewards(kl, scores, lengths, coefficient=0.1)
    returns = generalized_advantages(rewards, values, lengths, gamma=1.0, lam=1.0).returns
    first = int(lengths[0])
    torch.testing.assert_close(returns[:first], rewards[:first].flip(0).cumsum(0).flip(0))


def test_whitening():
    numbers = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 3 + 5
    white = whiten(numbers)
    assert abs(float(white.mean())) < 1e-5 and float(white.var()) == pytest.approx(1, abs=1e-4)
    assert float(whiten(numbers, shift=False).mean()) == pytest.approx(float(numbers.mean()), abs=1e-3)
    assert whiten(torch.tensor([4.0])).tolist() == [0]
    assert whiten(torch.full((4,), 2.0)).tolist() == [0] * 4


def test_group_and_leave_one_out_advantages():
    scores = torch.tensor([[1.0, 2, 3, 6], [5, 5, 5, 5]])
    loo = leave_one_out(scores)
    for p in range(2):
        for g in range(4):
            others = [float(scores[p, other]) for other in range(4) if other != g]
            assert float(loo[p, g]) == pytest.approx(float(scores[p, g]) - sum(others) / 3, abs=1e-6)
    scaled = group_advantages(scores, scale=True)
    assert scaled[0].tolist() == pytest.approx(
        [(x - 3) / (np.std([1, 2, 3, 6], ddof=1) + 1e-4) for x in (1, 2, 3, 6)], abs=1e-6
    )
    assert group_advantages(scores, scale=False)[0].tolist() == [-2, -1, 0, 3]
    assert scaled[1].tolist() == [0] * 4, "a group without differences teaches nothing"


def test_the_coefficient_follows_the_divergence():
    assert adapted_coefficient(0.1, kl=6.0, target=6.0, rate=0.1) == 0.1
    assert adapted_coefficient(0.1, kl=60.0, target=6.0, rate=0.1) == pytest.approx(0.102)
    assert adapted_coefficient(0.1, kl=0.0, target=6.0, rate=0.1) == pytest.approx(0.098)
    assert adapted_coefficient(0.1, kl=6.6, target=6.0, rate=0.1) == pytest.approx(0.101)


def test_explained_variance():
    returns = torch.tensor([1.0, 2, 3])
    assert explained_variance(returns, returns) == 1
    assert explained_variance(torch.zeros(3), returns) == 0
    assert explained_variance(-returns, returns) == pytest.approx(-3)
    assert explained_variance(returns, torch.ones(3)) == 0
