"""Polish: answers written anew, clearer and complete; numbers and drugs stay as they are."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from xinglin.config.parts import Above, Fraction
from xinglin.data.records import Conversation, Kind, Record
from xinglin.synthesis.checks import bare, check_answer, check_language, supported, unwrapped
from xinglin.synthesis.facts import lost_facts, new_facts
from xinglin.synthesis.task import Ask, Expected, Item, Rejected, TaskConfig

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ("conversation",)


class Config(TaskConfig):
    """Last answers of conversations, written anew."""

    name: Literal["polish"]
    """Which task: a file in ``synthesis/tasks/``."""
    temperature: float = 0.3
    """Of the sampling."""
    least_growth: Above = 0.4
    """An answer that is shorter than this times the original is rejected."""
    most_growth: Above = 6.0
    """And one that is longer than this times the original, or than 200 characters where that is more."""
    support: Fraction = 0.4
    """The share of the original's pairs of characters, or of its words, that the new answer must have."""
    may_add: bool = False
    """Whether it may name numbers and drugs that neither the question nor the original has."""


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    yield from (Item(record) for record in records)


def requests(config: Config) -> Sequence[Expected]:
    return [Expected()]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    record = item.record
    assert isinstance(record, Conversation)
    *before, last = record.messages
    if last.role != "assistant" or last.tool_calls or not last.content.strip() or not before:
        raise Rejected("no_answer", "does not end on an answer in words")
    asked = "\n".join(f"{message.role}: {message.content}" for message in before)
    answer = unwrapped(await ask("polish", asked=asked, answer=last.content))
    _check(last.content, answer, asked, config, ask)
    message = replace(last, content=answer)
    return [replace(record, messages=(*before, message))]


def _check(original: str, answer: str, asked: str, config: Config, ask: Ask) -> None:
    check_answer(asked, answer)
    check_language(answer, chinese=ask.chinese)
    if bare(original) == bare(answer):
        raise Rejected("unchanged")
    longest = max(200, config.most_growth * len(original))
    if not config.least_growth * len(original) <= len(answer) <= longest:
        raise Rejected("length_changed", f"{len(original)} to {len(answer)} characters")
    if lost := lost_facts(original, answer):
        raise Rejected("fact_lost", ", ".join(lost[:5]))
    if not config.may_add and (added := new_facts(f"{asked}\n{original}", answer)):
        raise Rejected("fact_added", ", ".join(added[:5]))
    if (share := supported(original, answer)) < config.support:
        raise Rejected("content_lost", f"{share:.2f} of the original is left")
