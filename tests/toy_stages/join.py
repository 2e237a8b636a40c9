"""Merge models into one."""

from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.base import Config as Part
from xinglin.config.base import ModelInput, RewardInput, StageConfig
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "model"


class Plain(Part):
    name: Literal["plain"]
    """This one."""
    weight: float = 1.0
    """Read by nobody."""


class Judged(Part):
    name: Literal["judged"]
    """This one."""
    model: RewardInput = None
    """What judges."""


class Config(StageConfig):
    models: list[ModelInput] = Field(default=[None])
    """What to join."""
    judges: list[Annotated[Plain | Judged, Field(discriminator="name")]] = Field(default=[])
    """Who watches."""


def run(config: Config, run: StageRun) -> Outcome:
    names = [run.model(model) if model else "" for model in config.models]
    (run.out / "weights.txt").write_text("\n".join(names), encoding="utf-8")
    return Outcome("model")
