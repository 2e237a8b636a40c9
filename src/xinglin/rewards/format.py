"""Format: an answer has to match a pattern, such as reasoning and answer in tags."""

import re
from typing import Literal

from pydantic import field_validator

from xinglin.rewards import Context, Reward, RuleConfig, rule

_INSIDE = r"(?:(?!</?(?:think|answer)>).)*"
THINK_ANSWER = rf"<think>(?!\s*</){_INSIDE}</think>\s*<answer>(?!\s*</){_INSIDE}</answer>"


class Config(RuleConfig):
    """Answers in a given form."""

    name: Literal["format"]
    """Which reward: a file in ``rewards/``."""
    pattern: str = THINK_ANSWER
    """Regular expression that the whole answer has to match; ``.`` matches line breaks too. Default:
    ``<think>…</think> <answer>…</answer>``, each tag once and neither part empty."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern


def build(config: Config, context: Context) -> Reward:
    pattern = re.compile(config.pattern, re.DOTALL)
    return rule(lambda sample: 0.0 if pattern.fullmatch(sample.answer.strip()) else -1.0)
