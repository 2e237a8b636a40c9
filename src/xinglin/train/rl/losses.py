"""Loss terms per token or answer; sums and divisors are the objectives' business."""

from typing import NamedTuple

import torch
from torch import Tensor


class Clipped(NamedTuple):
    losses: Tensor
    """One per token or answer."""
    clipped: Tensor
    """1 where the clipping took the gradient away, else 0."""


def clipped_policy_loss(log_ratio: Tensor, advantages: Tensor, *, low: float, high: float) -> Clipped:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A) (PPO, arXiv 1707.06347, equation 7).

    Args:
        log_ratio: log-probability now minus when the answer was given, of tokens or of whole answers.
        advantages: of the same shape.
        low: how far below 1 the ratio still has a gradient where the advantage is negative.
        high: how far above 1 where it is positive; more than ``low`` keeps unlikely tokens alive (arXiv 2503.14476).
    """
    ratio = log_ratio.exp()
    free = ratio * advantages
    bound = ratio.clamp(1 - low, 1 + high) * advantages
    return Clipped(-torch.min(free, bound), (bound < free).float())


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, *, clip: float | None) -> Clipped:
    """Half the squared error of ``values``, or of values that moved no further than ``clip`` if that is greater.

    As in OpenAI's baselines; None: not clipped.
    """
    free = (values - returns).square()
    if clip is None:
        return Clipped(free / 2, torch.zeros_like(free))
    bound = (old + (values - old).clamp(-clip, clip) - returns).square()
    return Clipped(torch.max(free, bound) / 2, (bound > free).float())


def divergence(log_probs: Tensor, others: Tensor) -> Tensor:
    """Estimate of KL(policy || other) at tokens that the policy drew: exp(-d) - 1 + d with d = log-ratio.

    Never below 0, unbiased, and of low variance (k3 of J. Schulman, "Approximating KL divergence", 2020).
    """
    difference = log_probs - others
    return torch.expm1(-difference) + difference
