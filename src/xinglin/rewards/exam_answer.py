"""Exam answer: 1 when the letters that an answer commits to are the right ones."""

import re
from typing import Literal

from xinglin.errors import DataError
from xinglin.evaluate.extraction import extract
from xinglin.rewards import Context, Reward, RewardConfig, Sample, rule

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class Config(RewardConfig):
    """Right answers to exam questions."""

    name: Literal["exam_answer"]
    """Which reward: a file in ``rewards/``."""


def build(config: Config, context: Context) -> Reward:
    """
    Raises:
        DataError: the prompts are no exam questions.
    """
    if context.record != "question":
        raise DataError(f"there is no right answer to a {context.record}; name a split of exam questions")
    return rule(score)


def score(sample: Sample) -> float:
    """1 where all right letters and no others are given, as the exam benchmark counts; reads ``<answer>`` tags."""
    exam = sample.exam
    if exam is None:
        raise DataError("a prompt without options and right answer; name a split of exam questions")
    tagged = _TAGGED.findall(sample.final)
    given = extract(tagged[-1] if tagged else sample.final, exam["options"])
    return float(given != "" and given == "".join(sorted(exam["answer"])))
