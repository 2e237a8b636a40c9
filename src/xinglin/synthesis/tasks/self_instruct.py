"""Self-instruct: new questions like those of a split, with answers; only what is new is kept (arXiv 2212.10560)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from xinglin.config.parts import Positive
from xinglin.data.records import Conversation, Kind, Message, Record
from xinglin.synthesis.checks import check_answer, check_language, check_length, check_standalone
from xinglin.synthesis.novelty import Novelty
from xinglin.synthesis.task import Ask, Expected, Form, Item, QuestionAnswer, Rejected, TaskConfig, is_chinese

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ("conversation",)


class Tasks(Form):
    tasks: list[QuestionAnswer] = Field(min_length=1)


class Config(TaskConfig):
    """New questions and answers."""

    name: Literal["self_instruct"]
    """Which task: a file in ``synthesis/tasks/``."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of the sampling."""
    max_new_tokens: Positive = 2048
    """Longest reply, with all its questions and answers."""
    tasks: Positive = 100
    """New questions to ask for; those that are not new enough are left out."""
    tasks_per_request: Positive = 5
    """New questions that one request is to give."""
    seeds_per_request: Positive = 4
    """Questions of the split that it shows."""
    max_seeds: Positive = 20_000
    """At most so many records of the split are seeds, from its beginning."""
    novelty: Annotated[float, Field(gt=0, le=1)] = 0.7
    """A question with at least this ROUGE-L to a seed, or to an earlier new one, is left out."""
    shortest_answer: Positive = 20
    """In characters."""


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    """One for each request; which seeds it shows follows from the recipe's seed and its number."""
    seeds = [record for record in islice(records, config.max_seeds) if isinstance(record, Conversation)]
    if not seeds:
        return
    for number in range(-(-config.tasks // config.tasks_per_request)):
        dice = np.random.default_rng([seed, number])
        shown = dice.choice(len(seeds), min(config.seeds_per_request, len(seeds)), replace=False)
        yield Item(seeds[int(shown[0])], (number, [_question(seeds[int(place)]) for place in shown]))


def requests(config: Config) -> Sequence[Expected]:
    return [Expected()]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    number, seeds = item.value
    reply = await ask.form("tasks", Tasks, seeds=seeds, count=config.tasks_per_request, number=number + 1)
    made = reply.tasks[: config.tasks_per_request]
    check_language("\n".join(each.question + each.answer for each in made), chinese=ask.chinese)
    records = [
        Conversation((Message("user", each.question), Message("assistant", each.answer)), item.record.origin)
        for each in made
    ]
    faults = [_fault(record, config) for record in records]
    if None not in faults:
        raise Rejected(str(faults[0]), "all of them, for this reason or another")
    return records


def screen(records: Iterator[Record], config: Config) -> Callable[[Record], str | None]:
    """Whether a question is new, and it and its answer can be used."""
    seeds = islice(records, config.max_seeds)
    novelty = Novelty(config.novelty, (_question(seed) for seed in seeds if isinstance(seed, Conversation)))

    def reason(record: Record) -> str | None:
        assert isinstance(record, Conversation)
        return _fault(record, config) or (None if novelty.add(_question(record)) else "not_new")

    return reason


def _fault(record: Conversation, config: Config) -> str | None:
    question, answer = (message.content for message in record.messages)
    try:
        check_length(question, least=4, most=2000, what="question")
        check_length(answer, least=config.shortest_answer, most=8000, what="answer")
        check_standalone(question, what="question")
        check_language(answer, chinese=is_chinese([question]))
        check_answer(question, answer)
    except Rejected as error:
        return error.reason
    return None


def _question(record: Conversation) -> str:
    return next((message.content for message in record.messages if message.role == "user"), "")
