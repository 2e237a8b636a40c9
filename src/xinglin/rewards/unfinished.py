"""Unfinished: answers that were cut off, or that stop in the middle of a sentence."""

from typing import Literal

from xinglin.data.writing.endings import ends_open
from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule

OPEN_END = -0.5
"""Score of a last sentence without an end: people leave out full stops too."""


class Config(RuleConfig):
    """Answers that come to an end."""

    name: Literal["unfinished"]
    """Which reward: a file in ``rewards/``."""


def build(config: Config, context: Context) -> Reward:
    return rule(score)


def score(sample: Sample) -> float:
    """-1 for an answer that was cut off or only reasons; ``OPEN_END`` for one that ends on a comma or the like, or on
    a long line without an end that is no item of a list."""
    answer = sample.final
    if sample.finish == "length" or not answer:
        return -1.0
    return OPEN_END if ends_open(answer) else 0.0
