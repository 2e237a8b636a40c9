"""Preferences: several answers to a prompt, judged two by two under a written constitution (arXiv 2212.08073).

Each two are judged in both orders, since judges prefer what stands first; only a verdict that is the same both times
counts. What a doctor answered, if the record has it, is shown to the judge (HuatuoGPT, arXiv 2305.15075).
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.parts import Positive
from xinglin.data.prompts import prompt_of
from xinglin.data.records import Conversation, Kind, Message, Preference, Record
from xinglin.endpoint import Endpoint
from xinglin.endpoint.tokens import estimate_tokens
from xinglin.errors import DataError
from xinglin.synthesis.checks import bare, check_answer
from xinglin.synthesis.task import Ask, Expected, Form, Item, Rejected, TaskConfig
from xinglin.synthesis.wording import packaged

MAKES: Kind = "preference"
READS: tuple[Kind, ...] = ("conversation", "preference", "question")


class Verdict(Form):
    reason: str
    principle: str
    better: Literal["A", "B", "tie"]


class Config(TaskConfig):
    """Better and worse answers, by AI feedback."""

    name: Literal["preferences"]
    """Which task: a file in ``synthesis/tasks/``."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of the answers; verdicts are taken at 0."""
    tries: Positive = 1
    """How often an item is made until it is rejected."""
    answers: Annotated[int, Field(ge=2, le=16)] = 4
    """Answers to each prompt. The best so far is compared with the next one: 2 x (answers - 1) verdicts."""
    max_pairs: Positive = 1
    """At most so many pairs of a prompt, the last comparisons first."""
    reference: bool = True
    """Show the judge what a doctor answered: the last answer of a conversation, the chosen one of a preference."""
    judge: Endpoint | None = None
    """Who judges. Default: the model that answers."""


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    yield from (Item(record) for record in records)


def requests(config: Config) -> Sequence[Expected]:
    verdict = Expected(replies=2, tokens=estimate_tokens(constitution(chinese=True)), judge=True)
    return [Expected()] * config.answers + [verdict] * 2 * (config.answers - 1)


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Preference]:
    try:
        prompt = prompt_of(item.record)
    except DataError as error:
        raise Rejected("not_askable", str(error)) from None
    answers = await _answers(prompt.messages, config, ask)
    reference = _reference(item.record) if config.reference else ""
    asked = "\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
    best, pairs = answers[0], []
    for other in answers[1:]:
        verdict = await _compare(asked, best, other, reference, ask)
        if verdict is None:
            continue
        better, principle = verdict
        worse = other if better == best else best
        meta = {**prompt.meta, "principle": principle}
        pairs.append(Preference(prompt.messages, better, worse, item.record.origin, meta))
        best = better
    if not pairs:
        raise Rejected("no_consistent_verdict", f"{len(answers)} different answers")
    return pairs[::-1][: config.max_pairs]


async def _answers(messages: Sequence[Message], config: Config, ask: Ask) -> list[str]:
    """Different ones that can be used, in their order."""
    asked = [ask("respond", history=messages, sample=number) for number in range(config.answers)]
    found: dict[str, str] = {}
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, Rejected):
            continue
        if isinstance(answer, BaseException):
            raise answer
        try:
            check_answer(messages[-1].content, answer)
        except Rejected:
            continue
        found.setdefault(bare(answer), answer)
    if len(found) < 2:
        raise Rejected("answers_alike", f"{len(found)} of {config.answers} can be compared")
    return list(found.values())


async def _compare(asked: str, one: str, other: str, reference: str, ask: Ask) -> tuple[str, str] | None:
    """The better of two answers and the principle that decided; None where the orders disagree."""
    values = {"asked": asked, "reference": reference, "constitution": constitution(ask.chinese)}
    there = await ask.form("verdict", Verdict, judge=True, a=one, b=other, **values)
    back = await ask.form("verdict", Verdict, judge=True, a=other, b=one, **values)
    if {there.better, back.better} != {"A", "B"}:
        return None
    return (one if there.better == "A" else other), there.principle


@cache
def constitution(chinese: bool) -> str:
    """The principles, numbered."""
    principles: Sequence[Mapping[str, str]] = packaged("constitution.yaml")["principles"]
    language = "zh" if chinese else "en"
    return "\n".join(f"{number}. {each[language]}" for number, each in enumerate(principles, 1))


def _reference(record: Record) -> str:
    if isinstance(record, Preference):
        return record.chosen
    last = record.messages[-1] if isinstance(record, Conversation) else None
    return last.content if last and last.role == "assistant" else ""
