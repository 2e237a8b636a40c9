"""From rewards to advantages: which tokens or answers were better than expected, and by how much.

Numbers of tokens lie end to end, answer after answer: (M,) for M tokens of S answers of ``lengths`` (S,) tokens each.
All of it is float32 arithmetic on tensors without gradient.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_EPSILON = 1e-4
"""Added to the deviation of a group's rewards, as in TRL."""


def token_rewards(kl: Tensor, scores: Tensor, lengths: Tensor, *, coefficient: float) -> Tensor:
    """(M,) rewards: the KL penalty on every token, and the score at the last one, end of turn or cut.

    Args:
        kl: (M,) log-probability under the policy minus that under the reference, the one-sample estimate of the
            divergence at each token (arXiv 2009.01325).
        scores: (S,) what the whole answer is worth.
        lengths: (S,) tokens of each answer, all above 0.
        coefficient: reward that a nat of divergence costs.
    """
    rewards = -coefficient * kl
    return rewards.index_add(0, lengths.cumsum(0) - 1, scores)


class Estimate(NamedTuple):
    advantages: Tensor
    """(M,) how much better each token was than expected."""
    returns: Tensor
    """(M,) what the value of the state before each token should have been."""


def generalized_advantages(
    rewards: Tensor, values: Tensor, lengths: Tensor, *, gamma: float, lam: float
) -> Estimate:
    """Generalised advantage estimation (arXiv 1506.02438, equation 16) within each answer.

    Args:
        rewards: (M,).
        values: (M,) of the state before each token; the state after the last one is worth 0.
        lengths: (S,).
        gamma: discount of a reward per token.
        lam: weight of longer looks ahead: 0 is the one-step difference, 1 the whole sum of rewards.
    """
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    reward, value = rewards.new_zeros(mask.shape), rewards.new_zeros(mask.shape)
    reward[mask], value[mask] = rewards, values
    advantages = torch.zeros_like(reward)
    ahead = following = reward.new_zeros(len(lengths))
    for at in reversed(range(mask.shape[1])):
        surprise = reward[:, at] + gamma * following - value[:, at]
        # Past the end of an answer reward and value are 0, so nothing comes in from there.
        ahead = surprise + gamma * lam * ahead
        following = value[:, at]
        advantages[:, at] = ahead
    flat = advantages[mask]
    return Estimate(flat, flat + values)


def whiten(numbers: Tensor, *, shift: bool = True) -> Tensor:
    """Variance 1, and mean 0 unless ``shift`` is off; fewer than two numbers are only shifted."""
    mean = numbers.mean()
    scaled = numbers - mean
    if len(numbers) > 1:
        scaled = scaled * torch.rsqrt(numbers.var() + 1e-8)
    return scaled if shift else scaled + mean


def group_advantages(scores: Tensor, *, scale: bool) -> Tensor:
    """(P, G) how much better each answer is than the G answers to its prompt are on average (arXiv 2402.03300).

    ``scale``: divided by the group's standard deviation; without, easy and hard prompts do not weigh more than
    others (arXiv 2503.20783).
    """
    advantages = scores - scores.mean(1, keepdim=True)
    return advantages / (scores.std(1, keepdim=True) + _EPSILON) if scale else advantages


def leave_one_out(scores: Tensor) -> Tensor:
    """(P, G) how much better each answer is than the mean of the other answers to its prompt (arXiv 2402.14740)."""
    number = scores.shape[1]
    return (scores - scores.mean(1, keepdim=True)) * (number / (number - 1))


def adapted_coefficient(coefficient: float, *, kl: float, target: float, rate: float) -> float:
    """The KL coefficient for the next rollout: up by at most 0.2 ``rate`` when this one's KL is above ``target``.

    Proportional control in log space (arXiv 1909.08593, section 2.2, where ``rate`` is 0.1).
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + rate * error)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Share of the variance of ``returns`` that ``values`` foresaw; 1 is perfect, 0 no better than a constant."""
    variance = float(returns.var(correction=0))
    return 1 - float((returns - values).var(correction=0)) / variance if variance > 0 else 0.0
