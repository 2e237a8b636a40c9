"""Repetition: the share of an answer's n-grams that it has said before."""

from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.parts import Positive
from xinglin.data.writing.repetition import repeated_share
from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule


class Config(RuleConfig):
    """Answers that go round in circles."""

    name: Literal["repetition"]
    """Which reward: a file in ``rewards/``."""
    ngram: Positive = 5
    """Words, or Chinese characters, that count as a repetition when they come again in the same order."""
    allowed: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of repeated n-grams that costs nothing: medical texts repeat names. From here the score falls, to -1
    where everything is repeated."""


def build(config: Config, context: Context) -> Reward:
    return rule(lambda sample: score(sample, config))


def score(sample: Sample, config: Config) -> float:
    over = repeated_share(sample.answer, ngram=config.ngram) - config.allowed
    return -max(0.0, over) / (1 - config.allowed)
