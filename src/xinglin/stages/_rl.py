"""What PPO, GRPO and RLOO stages share: rewards, the plan, and where they run."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from xinglin import engines
from xinglin.config.parts import Above, AtLeastZero
from xinglin.config.rl import RolloutConfig
from xinglin.errors import DataError
from xinglin.runtime.stage_run import StageRun
from xinglin.stages import _training
from xinglin.stages._rewards import LIBRARY, Rewards
from xinglin.stages._training import DISTRIBUTED, PRODUCES, produces, sources

__all__ = [
    "DISTRIBUTED",
    "LIBRARY",
    "PRODUCES",
    "KlConfig",
    "RewardedConfig",
    "check",
    "check_records",
    "plan",
    "produces",
    "sources",
]


class RewardedConfig(RolloutConfig):
    """Answers of the model itself, learned from by what they are worth."""

    rewards: Annotated[Rewards, Field(min_length=1)]
    """What makes an answer good: a list of ``name``, ``weight`` and options each (``xinglin list rewards``)."""


class KlConfig(RewardedConfig):
    """The same, with a price on distance from the reference, taken off the reward."""

    kl_coefficient: AtLeastZero = 0.05
    """Reward that a nat of divergence from the reference costs."""
    kl_target: Above | None = None
    """Nats per answer that the coefficient is steered to, rollout by rollout (arXiv 1909.08593). None: it is fixed."""
    kl_rate: Above = 0.1
    """How fast it is steered: the coefficient changes by at most 0.2 of this at a rollout."""


def check(config: RolloutConfig, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """What any training refuses, and an engine that is not installed."""
    _training.check(config, kinds)
    engines.require(config.engine)


def check_records(config: RolloutConfig, records: Mapping[str, str]) -> None:
    """Refuse splits that ask nothing, and prompts of two kinds."""
    splits = [config.split, *config.eval_splits]
    prompts = ("conversation", "preference", "rating", "question")
    _training.require_records(splits, records, prompts, cure="it asks nothing; name a split of prompts")
    kinds = {split: records[split] for split in splits if split in records}
    if len(set(kinds.values())) > 1:
        held = " and ".join(f"split '{split}' {kind}s" for split, kind in kinds.items())
        raise DataError(f"{held}: the rewards can judge one kind; name an eval_split like the split")


def plan(config: RolloutConfig, run: StageRun) -> dict[str, str]:
    """Answers, steps and a forecast of memory and time, for ``--dry-run``."""
    from xinglin.train.forecast import describe

    # The data set's tokens say nothing about how long answers will be.
    lines = {name: line for name, line in describe(config, run).items() if name != "tokens"}
    answers = config.rollout_prompts * config.answers_per_prompt
    each = config.batch_size or answers
    rollout = f"{answers} answers to {config.rollout_prompts} prompts, then {config.steps_per_rollout} steps of {each}"
    return {"rollout": rollout} | lines
