"""Proximal policy optimisation: learn from rewards token by token, close to the start."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.parts import AtLeastZero, Fraction, Positive
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._rl import (
    DISTRIBUTED,
    LIBRARY,
    PRODUCES,
    KlConfig,
    check,
    check_records,
    plan,
    produces,
    sources,
)

__all__ = [
    "DISTRIBUTED",
    "LIBRARY",
    "PRODUCES",
    "Config",
    "check",
    "check_records",
    "plan",
    "produces",
    "run",
    "sources",
]


class Config(KlConfig):
    """Answer prompts, and learn from the rewards. An adapter given as ``model`` is merged in first: it is the
    reference."""

    rollout_epochs: Positive = 4
    """Passes over the answers of a rollout. It takes rollout_epochs x answers / batch_size optimizer steps."""
    gamma: Fraction = 1.0
    """Discount of a later reward, per token."""
    lam: Fraction = 0.95
    """Of generalised advantage estimation: 1 trusts the rewards alone, 0 the value of the next state."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far from 1 the ratio of new to old probability still has a gradient."""
    value: Literal["shared", "adapter"] = "shared"
    """What foresees the rewards: a head on the policy's hidden states, or on those of an adapter of its own
    (``tuning: lora``), which the policy need not make room for and which costs one more pass."""
    value_coefficient: AtLeastZero = 0.1
    """Weight of the value loss beside the policy loss."""
    value_clip: Annotated[float, Field(gt=0)] | None = 0.2
    """Values that moved further than this from those of the rollout have no gradient. None: not clipped."""
    whiten_rewards: bool = False
    """Divide the rewards of a rollout's tokens by their standard deviation. Advantages always are."""

    @model_validator(mode="after")
    def _has_room_for_values(self) -> "Config":
        if self.value == "adapter" and self.tuning != "lora":
            raise ValueError("value: adapter needs tuning: lora; use shared")
        if self.value == "adapter" and self.gradient_checkpointing == "on":
            raise ValueError("value: adapter needs gradient_checkpointing: off; use value: shared")
        return self


def run(config: Config, run: StageRun) -> Outcome:
    """Prompts in, a model whose answers earn more out."""
    from xinglin.train.rl.methods import PPO, Kl
    from xinglin.train.rl.training import train_policy

    method = PPO(
        kl=Kl(config.kl_coefficient, config.kl_target, config.kl_rate),
        critic=config.value,
        gamma=config.gamma,
        lam=config.lam,
        clip=config.clip,
        value_clip=config.value_clip,
        value_coefficient=config.value_coefficient,
        entropy_coefficient=config.entropy_coefficient,
        whiten_rewards=config.whiten_rewards,
    )
    return train_policy(config, run, method=method, rewards=config.rewards)
