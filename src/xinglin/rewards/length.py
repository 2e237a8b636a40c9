"""Length: answers that are too short or too long, in characters."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xinglin.config.parts import Positive
from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule


class Config(RuleConfig):
    """Answers of a reasonable length."""

    name: Literal["length"]
    """Which reward: a file in ``rewards/``."""
    shortest: Annotated[int, Field(ge=1)] = 10
    """Characters from which on an answer is long enough. An empty one scores -1."""
    longest: Positive = 2000
    """Characters up to which it is not too long. A Chinese text says in these what takes an English one three times
    as many."""
    edge: Annotated[float, Field(gt=0)] = 0.5
    """The score falls from 0 at ``longest`` to -1 at ``longest`` x (1 + edge)."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError("shortest is more than longest; exchange them")
        return self


def build(config: Config, context: Context) -> Reward:
    return rule(lambda sample: score(sample, config))


def score(sample: Sample, config: Config) -> float:
    """-(1 - length / shortest) below, -(length / longest - 1) / edge above, at least -1."""
    length = len(sample.final)
    missing = 1 - length / config.shortest
    over = (length / config.longest - 1) / config.edge
    return -min(1.0, max(0.0, missing, over))
