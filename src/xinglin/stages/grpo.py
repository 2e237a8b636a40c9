"""Group-relative policy optimisation: of several answers to a prompt, learn from the better ones."""

from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.parts import AtLeastZero
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._rl import (
    DISTRIBUTED,
    LIBRARY,
    PRODUCES,
    RewardedConfig,
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


class Config(RewardedConfig):
    """Answer prompts several times, and learn from the differences. An adapter given as ``model`` is merged in first:
    it is the reference."""

    answers_per_prompt: Annotated[int, Field(ge=2)] = 8
    """Answers to each prompt, which are compared with each other."""
    normalization: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """What the loss of a step is divided by. ``dapo``: its tokens (arXiv 2503.14476); ``grpo``: each answer by its own
    length, then their number, which makes tokens of long answers weigh less; ``dr_grpo``: answers x max_new_tokens
    (arXiv 2503.20783)."""
    scale_advantages: bool = True
    """Divide a group's advantages by its standard deviation; ``false`` as in arXiv 2503.20783."""
    ratio: Literal["token", "sequence"] = "token"
    """What is clipped: each token's ratio of new to old probability, or the answer's geometric mean of them
    (GSPO, arXiv 2507.18071, with clipping around 3e-4)."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far below 1 the ratio still has a gradient."""
    clip_high: Annotated[float, Field(gt=0)] = 0.28
    """How far above 1; more than below keeps unlikely tokens alive (arXiv 2503.14476)."""
    beta: AtLeastZero = 0.0
    """Adds this times the divergence from the reference to the loss of each token. 0: there is no reference."""

    @property
    def measured_passes(self) -> int:
        return (self.steps_per_rollout > 1) + (self.beta > 0)


def run(config: Config, run: StageRun) -> Outcome:
    """Prompts in, a model whose answers earn more out."""
    from xinglin.train.rl.methods import GRPO, Kl
    from xinglin.train.rl.training import train_policy

    method = GRPO(
        kl=Kl(config.beta),
        normalization=config.normalization,
        scale_advantages=config.scale_advantages,
        ratio=config.ratio,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        entropy_coefficient=config.entropy_coefficient,
        max_new_tokens=config.max_new_tokens,
    )
    return train_policy(config, run, method=method, rewards=config.rewards)
