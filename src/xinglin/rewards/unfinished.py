"""Unfinished: answers that were cut off, or that stop in the middle of a sentence."""

import re
from typing import Literal

from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule

OPEN_END = -0.5
"""Score of a last sentence without an end: people leave out full stops too."""
_SHORT = 20
"""Characters of a last line that need no full stop: the name of a drug, a letter, a heading."""
_GOES_ON = re.compile(r"[,，、;；:：(（\[【“‘《\-–—/]$")
_ENDS = re.compile(r"[^\w\s]$")
_ITEM = re.compile(r"\s*(?:[-*•·]|\(?\d+[.)、）]|[（(]?[一二三四五六七八九十]+[、)）.])")


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
    last = answer.rsplit("\n", 1)[-1]
    if _GOES_ON.search(answer):
        return OPEN_END
    fine = _ENDS.search(answer) or len(last) <= _SHORT or _ITEM.match(last)
    return 0.0 if fine else OPEN_END
