"""REINFORCE, leave one out: an answer is compared with the other answers to its prompt."""

from typing import Annotated

from pydantic import Field

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
    """Answer prompts several times, and learn from the differences. An adapter given as ``model`` is merged in first:
    it is the reference."""

    answers_per_prompt: Annotated[int, Field(ge=2)] = 4
    """Answers to each prompt, which are compared with each other."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far from 1 the ratio of an answer's new to its old probability still has a gradient."""
    whiten_advantages: bool = False
    """Mean 0 and deviation 1 over the advantages of a rollout."""


def run(config: Config, run: StageRun) -> Outcome:
    """Prompts in, a model whose answers earn more out."""
    from xinglin.train.rl.methods import RLOO, Kl
    from xinglin.train.rl.training import train_policy

    method = RLOO(
        kl=Kl(config.kl_coefficient, config.kl_target, config.kl_rate),
        clip=config.clip,
        entropy_coefficient=config.entropy_coefficient,
        whiten_advantages=config.whiten_advantages,
    )
    return train_policy(config, run, method=method, rewards=config.rewards)
