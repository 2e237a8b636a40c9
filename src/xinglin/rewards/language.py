"""Language: Chinese questions want Chinese answers, English questions English ones."""

import re
from typing import Annotated, Literal

from pydantic import Field

from xinglin.data.writing.language import chinese_share
from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule

_ASKS_FOR_ANOTHER = re.compile(
    r"翻译|译成|译为|(?:用|以|写成)\s*(?:中文|汉语|英文|英语)|\btranslat|\bin (?:English|Chinese|Mandarin)\b",
    re.IGNORECASE,
)

_CODE = re.compile(r"```.*?(?:```|$)", re.DOTALL)


class Config(RuleConfig):
    """Answers in the language of the question."""

    name: Literal["language"]
    """Which reward: a file in ``rewards/``."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Share of the answer that has to be in the language of the question: Latin names of drugs in Chinese texts are
    no fault. Below it the score falls, to -1 where nothing is."""


def build(config: Config, context: Context) -> Reward:
    return rule(lambda sample: score(sample, config))


def score(sample: Sample, config: Config) -> float:
    """0 as well where a language cannot be told, and where the user asks for a translation."""
    asked, answered = (chinese_share(_CODE.sub("", text)) for text in (sample.question, sample.answer))
    if asked is None or answered is None or _ASKS_FOR_ANOTHER.search(sample.question):
        return 0.0
    right = answered if asked >= 0.5 else 1 - answered
    return -max(0.0, 1 - right / config.share)
