"""Supervised fine-tuning: predict the trained messages of conversations."""

from functools import partial

from xinglin.config.parts import TrainingConfig
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import PRODUCES, plan, produces, sources

__all__ = ["PRODUCES", "Config", "plan", "produces", "run", "sources"]


class Config(TrainingConfig):
    """Train on a split of conversations; the loss counts the messages whose ``train`` flag is set."""


def run(config: Config, run: StageRun) -> Outcome:
    """Conversations in, a model that answers out."""
    from xinglin.train.fit import split_batches, train
    from xinglin.train.objectives.language_modeling import Objective
    from xinglin.train.session import open_session

    return train(
        open_session(config, run),
        partial(split_batches, objective=lambda session, shards: Objective()),
    )
