"""Make a reward model, out of nothing."""

from xinglin.config.base import StageConfig
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "reward_model"


class Config(StageConfig):
    """It has no settings."""


def run(config: Config, run: StageRun) -> Outcome:
    return Outcome("reward_model")
