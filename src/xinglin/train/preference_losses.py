"""Losses over preference pairs: log-probabilities in, one loss per pair out.

``delta`` below is the log-ratio log pi(y) - log pi_ref(y) of the chosen answer less that of the rejected one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

REFERENCE_FREE = ("simpo", "orpo")


class Pairs(NamedTuple):
    """P pairs; the first of two columns is the chosen answer, the second the rejected one."""

    policy: Tensor
    """(P, 2) log-probabilities of the answers under the model that is trained, summed over their tokens."""
    reference: Tensor
    """(P, 2) the same under the reference; not read by ``REFERENCE_FREE`` losses."""
    tokens: Tensor
    """(P, 2) tokens of the answers."""
    kl: Tensor | float = 0.0
    """``kto`` only: the divergence of the model from the reference that its rewards are measured from."""

    @property
    def ratios(self) -> Tensor:
        """(P, 2) log-ratios."""
        return self.policy - self.reference

    @property
    def delta(self) -> Tensor:
        """(P,) log-ratio of the chosen answer less that of the rejected one."""
        return _gap(self.ratios)

    @property
    def means(self) -> Tensor:
        """(P, 2) log-probabilities per token."""
        return self.policy / self.tokens


@dataclass(frozen=True)
class PreferenceLoss:
    """One of ``LOSSES`` with its settings. ``loss(pairs)`` gives (P,) losses."""

    name: str
    beta: float
    label_smoothing: float = 0.0
    """The share of pairs whose order is taken to be wrong."""
    gamma: float = 0.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    sft_weight: float = 0.0
    """Times the negative log-likelihood per token of the chosen answer, added to each loss (arXiv 2404.19733)."""

    def __call__(self, pairs: Pairs) -> Tensor:
        return LOSSES[self.name](pairs, self) - self.sft_weight * pairs.means[:, 0]

    def rewards(self, pairs: Pairs) -> Tensor:
        """(P, 2) what the loss takes the answers to be worth, without gradient: beta times the log-ratios, or times
        the log-probabilities per token where there is no reference."""
        worth = pairs.means if self.name in REFERENCE_FREE else pairs.ratios
        return self.beta * worth.detach()


def sigmoid(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """DPO: -log sigmoid(beta delta) (arXiv 2305.18290). With label smoothing e it is cDPO (Mitchell 2023, "A note on
    DPO with noisy preferences"): 1 - e times this and e times that of the flipped pair."""
    return _smoothed(settings.beta * pairs.delta, settings.label_smoothing)


def robust(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """rDPO (arXiv 2403.00409): the unbiased estimate of the sigmoid loss when a share e of the pairs is flipped."""
    logits, e = settings.beta * pairs.delta, settings.label_smoothing
    return (e * logsigmoid(-logits) - (1 - e) * logsigmoid(logits)) / (1 - 2 * e)


def hinge(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """SLiC (arXiv 2305.10425) on log-ratios, as in RSO (arXiv 2309.06657): max(0, 1 - beta delta)."""
    return torch.relu(1 - settings.beta * pairs.delta)


def ipo(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """IPO (arXiv 2310.12036, eq. 17): (delta - 1 / (2 beta))², with log-ratios per token, as its authors ran it."""
    return (_gap(pairs.ratios / pairs.tokens) - 1 / (2 * settings.beta)) ** 2


def exo_pair(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """EXO (arXiv 2402.00856, eq. 16) for two answers: KL from the model's preference to (1 - e, e)."""
    logits, e = settings.beta * pairs.delta, settings.label_smoothing
    chosen = logits.sigmoid() * (logsigmoid(logits) - math.log1p(-e))
    return chosen + (-logits).sigmoid() * (logsigmoid(-logits) - math.log(e))


def nca_pair(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """NCA (arXiv 2402.05369) for two answers: it also keeps the chosen answer likely in itself."""
    rewards = settings.beta * pairs.ratios
    return -logsigmoid(rewards[:, 0]) - 0.5 * logsigmoid(-rewards).sum(dim=1)


def apo_zero(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """APO-zero (arXiv 2408.06266, eq. 7), for chosen answers that are better than what the model says."""
    worth = (settings.beta * pairs.ratios).sigmoid()
    return 1 - worth[:, 0] + worth[:, 1]


def apo_down(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """APO-down (arXiv 2408.06266, eq. 8), for chosen answers that are worse than what the model says."""
    return (settings.beta * pairs.ratios[:, 0]).sigmoid() + (-settings.beta * pairs.delta).sigmoid()


def simpo(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """SimPO (arXiv 2405.14734, eq. 6): log-probabilities per token, a margin gamma, no reference."""
    return _smoothed(settings.beta * _gap(pairs.means) - settings.gamma, settings.label_smoothing)


def orpo(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """ORPO's odds ratio term (arXiv 2403.07691, eq. 7), beta being its lambda; ``sft_weight`` adds the other one.

    odds = p / (1 - p) of the mean probability per token, p = exp(log-probability per token).
    """
    means = pairs.means.float()
    return -settings.beta * logsigmoid(_gap(means - _log_rest(means)))


def kto(pairs: Pairs, settings: PreferenceLoss) -> Tensor:
    """KTO (arXiv 2402.01306, eq. 7), the chosen answer as desirable and the rejected one as undesirable.

    The mean of the two, so that a mean over pairs is a mean over answers.
    """
    good = torch.tensor([True, False], device=pairs.policy.device)
    return kto_losses(pairs.ratios, good, settings, kl=pairs.kl).mean(dim=1)


def kto_losses(ratios: Tensor, good: Tensor, settings: PreferenceLoss, *, kl: Tensor | float) -> Tensor:
    """KTO of answers by themselves.

    Args:
        ratios: log-ratios of the answers.
        good: bool, of a shape that goes with theirs: which of them are desirable.
        kl: the divergence that their rewards are measured from.
    """
    lead = settings.beta * torch.where(good, ratios - kl, kl - ratios)
    return torch.where(good, settings.desirable_weight, settings.undesirable_weight) * (1 - lead.sigmoid())


LOSSES: dict[str, Callable[[Pairs, PreferenceLoss], Tensor]] = {
    function.__name__: function
    for function in (
        sigmoid,
        robust,
        hinge,
        ipo,
        exo_pair,
        nca_pair,
        apo_zero,
        apo_down,
        simpo,
        orpo,
        kto,
    )
}


def _gap(columns: Tensor) -> Tensor:
    return columns[:, 0] - columns[:, 1]


def _smoothed(logits: Tensor, e: float) -> Tensor:
    loss = -(1 - e) * logsigmoid(logits)
    return loss - e * logsigmoid(-logits) if e else loss


def _log_rest(log_p: Tensor) -> Tensor:
    """log(1 - exp(log_p)), exact for probabilities near 0 and near 1 (Mächler 2012, "Accurately computing
    log(1 - exp(-|a|))")."""
    log_p = log_p.clamp_max(-torch.finfo(log_p.dtype).eps)  # a probability that rounds to 1 has no odds
    small = log_p < -math.log(2)
    # Each branch sees only what it is finite for: a nan in the one that is not taken would reach the gradient.
    low = torch.log1p(-torch.where(small, log_p, -1.0).exp())
    high = torch.log(-torch.expm1(torch.where(small, -0.5, log_p)))
    return torch.where(small, low, high)
