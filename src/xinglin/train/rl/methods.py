"""PPO, GRPO and RLOO: what makes an advantage, and what the steps over a rollout lower."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from xinglin.data.packing import Step
from xinglin.train.rl.advantages import (
    adapted_coefficient,
    explained_variance,
    generalized_advantages,
    group_advantages,
    leave_one_out,
    token_rewards,
    whiten,
)
from xinglin.train.rl.losses import clipped_policy_loss, clipped_value_loss, divergence
from xinglin.train.rl.rollout import Rollout, mean_and_deviation

Metrics = dict[str, tuple[Tensor, Tensor]]
"""Name -> sum and what it is divided by."""


@dataclass(frozen=True)
class Kl:
    """How dearly distance from the reference is paid for, in reward per nat."""

    coefficient: float
    target: float | None = None
    """Nats per answer that an adaptive coefficient aims at; None: it is fixed."""
    rate: float = 0.1

    def next(self, coefficient: float, kl: float) -> float:
        if self.target is None:
            return coefficient
        return adapted_coefficient(coefficient, kl=kl, target=self.target, rate=self.rate)


@dataclass(frozen=True)
class Batch:
    """A micro-batch of a step: N tokens of S answers."""

    found: Mapping[str, Tensor]
    """(N,) of each that the method ``wants``, with gradient."""
    of: Callable[[str], Tensor]
    """Name -> (N,) numbers of the rollout."""
    owners: Tensor
    """(N,) the answer that each token belongs to."""
    counts: Tensor
    """(S,) tokens of each answer."""

    def sums(self, numbers: Tensor) -> Tensor:
        """(S,) sums over each answer."""
        return numbers.new_zeros(len(self.counts)).index_add(0, self.owners, numbers)


class Method(Protocol):
    """What tells one algorithm from another."""

    @property
    def kl(self) -> Kl:
        """What distance from the reference costs."""
        ...

    @property
    def critic(self) -> Literal["shared", "adapter"] | None:
        """Where values come from, if it needs any."""
        ...

    def measured(self, *, steps: int) -> tuple[str, ...]:
        """Numbers of a new rollout's tokens that are needed when it takes so many optimizer steps."""
        ...

    def prepare(self, rollout: Rollout, *, coefficient: float) -> None:
        """Add what ``loss`` reads to ``rollout.tokens``, and what is worth knowing to its facts."""
        ...

    @property
    def wants(self) -> tuple[str, ...]:
        """What a step asks of the model."""
        ...

    def weight(self, step: Step) -> float:
        """What the summed loss of a step is divided by."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The summed loss, and metrics."""
        ...


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimisation (arXiv 1707.06347) with the KL penalty in the reward (arXiv 2203.02155)."""

    kl: Kl
    critic: Literal["shared", "adapter"] | None
    gamma: float
    lam: float
    clip: float
    value_clip: float | None
    value_coefficient: float
    entropy_coefficient: float
    whiten_rewards: bool

    def measured(self, *, steps: int) -> tuple[str, ...]:
        return ("log_probs", "entropy", "values", "reference")

    @property
    def wants(self) -> tuple[str, ...]:
        return ("log_probs", "values", *(("entropy",) if self.entropy_coefficient else ()))

    def prepare(self, rollout: Rollout, *, coefficient: float) -> None:
        tokens = rollout.tokens
        kl = tokens["log_probs"] - tokens.pop("reference")
        rewards = token_rewards(kl, rollout.scores, rollout.counts, coefficient=coefficient)
        if self.whiten_rewards:
            rewards = whiten(rewards, shift=False)
        estimate = generalized_advantages(
            rewards, tokens["values"], rollout.counts, gamma=self.gamma, lam=self.lam
        )
        tokens["advantages"], tokens["returns"] = whiten(estimate.advantages), estimate.returns
        rollout.facts |= {
            **mean_and_deviation("advantage", estimate.advantages),
            **mean_and_deviation("value", tokens["values"]),
            **mean_and_deviation("return", estimate.returns),
            "explained_variance": explained_variance(tokens["values"], estimate.returns),
        }

    def weight(self, step: Step) -> float:
        return step.trained_tokens

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        of, found = batch.of, batch.found
        policy = clipped_policy_loss(
            found["log_probs"] - of("log_probs"), of("advantages"), low=self.clip, high=self.clip
        )
        value = clipped_value_loss(found["values"], of("values"), of("returns"), clip=self.value_clip)
        total = policy.losses.sum() + self.value_coefficient * value.losses.sum()
        if self.entropy_coefficient:
            total = total - self.entropy_coefficient * found["entropy"].sum()
        number = total.new_tensor(float(len(batch.owners)))
        named = {
            "policy_loss": policy.losses,
            "value_loss": value.losses,
            "clip_fraction": policy.clipped,
            "value_clip_fraction": value.clipped,
        }
        return total, {name: (numbers.sum(), number) for name, numbers in named.items()}


@dataclass(frozen=True, kw_only=True)
class GRPO:
    """Group-relative policy optimisation (arXiv 2402.03300), with the choices of DAPO, Dr. GRPO and GSPO."""

    kl: Kl
    critic: None = None
    normalization: Literal["dapo", "grpo", "dr_grpo"]
    scale_advantages: bool
    ratio: Literal["token", "sequence"]
    clip_low: float
    clip_high: float
    entropy_coefficient: float
    max_new_tokens: int

    def measured(self, *, steps: int) -> tuple[str, ...]:
        # A single step starts from the weights that gave the answers: their log-probabilities are its own.
        old = ("log_probs", "entropy") if steps > 1 else ()
        return (*old, *(("reference",) if self.kl.coefficient else ()))

    @property
    def wants(self) -> tuple[str, ...]:
        return ("log_probs", *(("entropy",) if self.entropy_coefficient else ()))

    def prepare(self, rollout: Rollout, *, coefficient: float) -> None:
        scores = rollout.scores.view(-1, rollout.group)
        advantages = group_advantages(scores, scale=self.scale_advantages)
        rollout.tokens["advantages"] = advantages.reshape(-1).repeat_interleave(rollout.counts)
        rollout.facts |= _group_facts(scores, advantages)

    def weight(self, step: Step) -> float:
        answers = sum(len(indices) for part in step.micro_batches for indices in part)
        return {
            "dapo": step.trained_tokens,
            "grpo": answers,
            "dr_grpo": answers * self.max_new_tokens,
        }[self.normalization]

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        log_probs = batch.found["log_probs"]
        log_ratio = log_probs - batch.of("log_probs")
        if self.ratio == "sequence":
            # The geometric mean of an answer's ratios (arXiv 2507.18071), for each of its tokens.
            log_ratio = (batch.sums(log_ratio) / batch.counts)[batch.owners]
        policy = clipped_policy_loss(
            log_ratio, batch.of("advantages"), low=self.clip_low, high=self.clip_high
        )
        losses = policy.losses
        named = {"clip_fraction": policy.clipped}
        if self.kl.coefficient:
            named["kl_per_token"] = divergence(log_probs, batch.of("reference"))
            losses = losses + self.kl.coefficient * named["kl_per_token"]
        if self.entropy_coefficient:
            losses = losses - self.entropy_coefficient * batch.found["entropy"]
        if self.normalization == "grpo":
            losses = losses / batch.counts[batch.owners]
        number = losses.new_tensor(float(len(losses)))
        return losses.sum(), {name: (numbers.sum(), number) for name, numbers in named.items()}


@dataclass(frozen=True, kw_only=True)
class RLOO:
    """REINFORCE with the other answers as the baseline (arXiv 2402.14740): an answer is one action."""

    kl: Kl
    critic: None = None
    clip: float
    entropy_coefficient: float
    whiten_advantages: bool

    def measured(self, *, steps: int) -> tuple[str, ...]:
        return ("log_probs", "entropy", "reference")

    @property
    def wants(self) -> tuple[str, ...]:
        return ("log_probs", *(("entropy",) if self.entropy_coefficient else ()))

    def prepare(self, rollout: Rollout, *, coefficient: float) -> None:
        kl = rollout.sums(rollout.tokens["log_probs"] - rollout.tokens.pop("reference"))
        scores = (rollout.scores - coefficient * kl).view(-1, rollout.group)
        advantages = leave_one_out(scores)
        rollout.facts |= _group_facts(scores, advantages)
        flat = advantages.reshape(-1)
        flat = whiten(flat) if self.whiten_advantages else flat
        rollout.tokens["advantages"] = flat.repeat_interleave(rollout.counts)

    def weight(self, step: Step) -> float:
        return sum(len(indices) for part in step.micro_batches for indices in part)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        log_ratio = batch.sums(batch.found["log_probs"] - batch.of("log_probs"))
        advantages = batch.sums(batch.of("advantages")) / batch.counts
        policy = clipped_policy_loss(log_ratio, advantages, low=self.clip, high=self.clip)
        total = policy.losses.sum()
        if self.entropy_coefficient:
            total = (
                total - self.entropy_coefficient * (batch.sums(batch.found["entropy"]) / batch.counts).sum()
            )
        number = total.new_tensor(float(len(policy.losses)))
        return total, {"clip_fraction": (policy.clipped.sum(), number)}


def _group_facts(scores: Tensor, advantages: Tensor) -> dict[str, float]:
    equal = (scores == scores[:, :1]).all(1)
    return {
        **mean_and_deviation("advantage", advantages),
        "groups_without_difference": float(equal.sum()),
    }
