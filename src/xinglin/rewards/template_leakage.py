"""Template leakage: special tokens spelled out, half characters, and turns that the model writes for the user."""

import re
from typing import Literal

from pydantic import Field

from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule

_TOKENS = re.compile(
    r"\ufffd|<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|</?s>|\[gMASK\]|<[se]op>|<unk>|\[UNK\]|\[PAD\]|<pad>"
    r"|<reserved_\d+>|<(?:start|end)_of_turn>|<(?:human|bot|user|assistant|system)>",
    re.IGNORECASE,
)
_TURNS = re.compile(
    r"^\s*(?:(?:human|user|assistant|bot|用户|助手|病人)\s*[:：]|(?:user|assistant|system)\s*$"
    r"|\#{2,}\s*(?:instruction|response|input|human|assistant|用户|指令|回答)\s*[:：])",
    re.IGNORECASE | re.MULTILINE,
)


class Config(RuleConfig):
    """Answers that hold nothing of a chat template."""

    name: Literal["template_leakage"]
    """Which reward: a file in ``rewards/``."""
    phrases: list[str] = Field(default=[])
    """Further texts that no answer may hold; case does not matter."""


def build(config: Config, context: Context) -> Reward:
    own = [phrase.casefold() for phrase in config.phrases]

    def score(sample: Sample) -> float:
        leaked = _TOKENS.search(sample.answer) or _TURNS.search(sample.answer)
        return -1.0 if leaked or any(phrase in sample.answer.casefold() for phrase in own) else 0.0

    return rule(score)
