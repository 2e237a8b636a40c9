"""Samples and contexts for the tests of rewards."""

from collections.abc import Mapping
from typing import Any

from xinglin import plugins
from xinglin.data.records import Message
from xinglin.rewards import PACKAGE, Context, Reward, RewardConfig, Sample


def sample(
    question: str, answer: str, *, finish: Any = "stop", meta: Mapping[str, Any] | None = None
) -> Sample:
    return Sample((Message("user", question),), answer, finish, len(answer), meta or {})


def talk(*turns: str) -> Sample:
    """Turns of a user and an assistant in alternation; the last is the answer to be scored."""
    *asked, answer = turns
    roles = ("user", "assistant")
    prompt = tuple(Message(roles[place % 2], text) for place, text in enumerate(asked))
    return Sample(prompt, answer, "stop", len(answer))


def config(name: str, **options: Any) -> RewardConfig:
    return plugins.load(PACKAGE, name).Config.model_validate({"name": name, **options})


def context(record: Any = "conversation", **others: Any) -> Context:
    return Context(record, locate=lambda reference: reference, **others)


def build(name: str, *, record: Any = "conversation", **options: Any) -> Reward:
    return plugins.load(PACKAGE, name).build(config(name, **options), context(record))


def score(name: str, asked: Sample, **options: Any) -> float:
    (found,) = build(name, **options)([asked])
    return found
