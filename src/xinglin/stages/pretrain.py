"""Continued pretraining: predict every token of documents."""

from typing import TYPE_CHECKING

from xinglin.config.parts import TrainingConfig
from xinglin.runtime.stage_run import Outcome, StageRun

if TYPE_CHECKING:
    from xinglin.data.shards import Shards
    from xinglin.train.objectives import ObjectiveProtocol
    from xinglin.train.session import Session

PRODUCES = ("model", "adapter")


class Config(TrainingConfig):
    """Train on a split of documents (or of anything: every kind of record has text)."""


def run(config: Config, run: StageRun) -> Outcome:
    """Documents in, a model out."""
    from xinglin.train.objectives.language_modeling import Objective
    from xinglin.train.session import open_session, train

    def objective(session: "Session", shards: "Shards", split: str) -> "ObjectiveProtocol":
        return Objective()

    return train(open_session(config, run), objective)
