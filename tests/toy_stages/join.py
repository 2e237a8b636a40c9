"""Merge models into one."""

from pydantic import Field

from xinglin.config.base import ModelInput, StageConfig
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "model"


class Config(StageConfig):
    models: list[ModelInput] = Field(default=[None])
    """What to join."""


def run(config: Config, run: StageRun) -> Outcome:
    names = [run.model(model) if model else "" for model in config.models]
    (run.out / "weights.txt").write_text("\n".join(names), encoding="utf-8")
    return Outcome("model")
