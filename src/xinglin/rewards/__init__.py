"""Rewards: what an answer is worth, by rule, by a known right answer, or by a model. One file each.

A reward ``NAME.py`` has

    class Config    its options, with ``name: Literal["NAME"]``: a ``RewardConfig``, or ``RuleConfig`` for a rule
    build(config: Config, context: Context) -> Reward
                    called once, when a stage starts: what cannot work (a model that cannot be loaded, a URL where
                    nobody answers, prompts without a right answer) is refused here

and keeps to one of three ranges, so that weights mean the same everywhere:

    rules           0 where nothing is wrong, down to -1 where the rule is broken entirely: rules only take away
    known answers   1 for right, 0 for wrong
    models          about 0 on average with a deviation of about 1, without bounds

The total of an answer is the weighted sum, clipped to a range; a broken rule with ``veto`` sets it to the bottom of
that range. What judges the advice in an answer reads ``Sample.final``, what follows the reasoning.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from pydantic import Field

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.data.prompts import EXAM
from xinglin.data.records import Kind, Message
from xinglin.engines import Finish
from xinglin.errors import RewardError, XinglinError
from xinglin.evaluate.extraction import final_answer

PACKAGE = "xinglin.rewards"


@dataclass(frozen=True)
class Sample:
    """An answer to be scored."""

    prompt: tuple[Message, ...]
    """What was asked; ends on a user message."""
    answer: str
    finish: Finish
    """``length``: the answer was cut off."""
    tokens: int
    """Tokens generated for it."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What is known about the prompt: ``data.prompts.Prompt.meta``."""

    @cached_property
    def final(self) -> str:
        """The answer without its reasoning; '' where that did not end."""
        return final_answer(self.answer).strip()

    @property
    def question(self) -> str:
        """The last user message."""
        return next((message.content for message in reversed(self.prompt) if message.role == "user"), "")

    @property
    def told(self) -> str:
        """All that the user said."""
        return "\n".join(message.content for message in self.prompt if message.role == "user")

    @property
    def exam(self) -> Mapping[str, Any] | None:
        """Options and right letters of an exam question."""
        return self.meta.get(EXAM)


Reward = Callable[[Sequence[Sample]], list[float]]
"""One score per sample, in order."""


class RewardConfig(Config):
    """What every reward has."""

    name: str
    """Which reward: a file in ``rewards/``."""
    label: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    """What its scores are called in logs. Default: ``name``; needed where one reward is there twice."""
    weight: float = 1.0
    """Its score times this is added to the total."""

    @property
    def title(self) -> str:
        return self.label or self.name


class RuleConfig(RewardConfig):
    """What every rule has."""

    veto: bool = False
    """An answer that breaks the rule entirely (score -1) gets the lowest total, whatever else it earns."""


class Scorer(Protocol):
    """A reward model in memory, as ``xinglin.models.reward.RewardModel``."""

    @property
    def scale(self) -> object | None:
        """Mean and deviation of its scores in training, where they are known."""
        ...

    def score(
        self, requests: Sequence[tuple[Sequence[Message], str]], *, normalise: bool = False
    ) -> list[float]:
        """The score of each (prompt, answer), raw or by ``scale``."""
        ...


@dataclass(frozen=True)
class Context:
    """What rewards are built with."""

    record: Kind
    """The kind of record that the prompts are made of."""
    locate: Callable[[str], str]
    """Input as the config names it -> folder or id to load: ``StageRun.model``."""
    device: str | None = None
    """Where a model is put. None: on the GPU where there is one."""
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    """Reward models that are loaded already, by input: as heads on the trunk that PPO trains."""


class Scored(NamedTuple):
    """What a batch of answers is worth."""

    totals: list[float]
    components: dict[str, list[float]]
    """Title of each reward -> its scores, before weights."""


class Scoring:
    """Scores batches of answers by several rewards.

    Args:
        configs: one per reward, with different titles.
        context: what they are built with.
        low: bottom of the range of totals; also what a veto sets.
        high: top of it.

    Raises:
        XinglinError: a reward cannot work, with its title.
    """

    def __init__(self, configs: Sequence[RewardConfig], context: Context, *, low: float, high: float):
        self.configs = tuple(configs)
        self.low, self.high = low, high
        self._rewards = {
            config.title: _explained(config.title, _build, config, context) for config in configs
        }

    def __call__(self, samples: Sequence[Sample]) -> Scored:
        """Total and components of every sample.

        Raises:
            RewardError: a score is no finite number, or is missing.
        """
        components = {
            title: _checked(title, _explained(title, reward, samples), len(samples))
            for title, reward in self._rewards.items()
        }
        if not components:
            return Scored([0.0] * len(samples), {})
        return Scored(combine(self.configs, components, low=self.low, high=self.high), components)


def combine(
    configs: Sequence[RewardConfig], components: Mapping[str, Sequence[float]], *, low: float, high: float
) -> list[float]:
    """clip(sum of weight x score, low, high) for each sample; ``low`` where a rule with ``veto`` is broken."""
    totals = []
    for scores in zip(*(components[config.title] for config in configs), strict=True):
        vetoed = any(
            isinstance(config, RuleConfig) and config.veto and score <= -1
            for config, score in zip(configs, scores, strict=True)
        )
        total = math.fsum(config.weight * score for config, score in zip(configs, scores, strict=True))
        totals.append(low if vetoed else min(high, max(low, total)))
    return totals


def rule(score: Callable[[Sample], float]) -> Reward:
    """A reward that looks at one sample at a time."""
    return lambda samples: [score(sample) for sample in samples]


def _build(config: RewardConfig, context: Context) -> Reward:
    return plugins.load(PACKAGE, config.name).build(config, context)


def _explained(title: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns; an error that the user can cure says which reward it is about."""
    try:
        return function(*arguments)
    except XinglinError as error:
        raise type(error)(f"reward '{title}': {error}") from error


def _checked(title: str, scores: list[float], num: int) -> list[float]:
    if len(scores) != num:
        raise RewardError(
            f"reward '{title}': {len(scores)} scores for {num} answers; it must give one for each"
        )
    wrong = next((score for score in scores if not math.isfinite(score)), None)
    if wrong is not None:
        raise RewardError(f"reward '{title}': gave {wrong}, which is no score; look at the model behind it")
    return scores
