"""Triples: head, relation, tail of a knowledge graph become questions and answers.

Rows are ``head,relation,tail`` of a table with these names, objects with them, or lists of three texts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from xinglin.config.parts import Fraction, Positive
from xinglin.data.containers import Row, inspect
from xinglin.data.records import Conversation, Document, Kind, Message, Origin, Record
from xinglin.synthesis.checks import (
    bare,
    check_answer,
    check_grounded,
    check_language,
    check_length,
    check_standalone,
)
from xinglin.synthesis.task import Ask, Expected, Item, QuestionAnswer, Rejected, TaskConfig

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ()
_NAMES = (
    ("head", "subject", "头实体", "实体"),
    ("relation", "predicate", "关系"),
    ("tail", "object", "尾实体", "值"),
)


class Config(TaskConfig):
    """Questions and answers from triples."""

    name: Literal["triples"]
    """Which task: a file in ``synthesis/tasks/``."""
    paths: list[str] = Field(min_length=1)
    """Files of triples: CSV or TSV with a header, JSON, JSON Lines, also packed."""
    licence: str | None = None
    """Under which terms they came; carried by every record."""
    together: Positive = 6
    """Triples with the same head that one question may be about."""
    longest_answer: Positive = 800
    """In characters. English ones may be three times as long."""
    support: Fraction = 0.3
    """The share of an answer's pairs of characters, or of its words, that the triples must have."""
    tails: Fraction = 0.5
    """The share of the tails that an answer must name."""


def files(config: Config) -> list[str]:
    return config.paths


def own_records(config: Config) -> Iterator[Record]:
    """One document for up to ``together`` triples of a head, in the order of the heads; what is no triple comes as an
    empty one."""
    for path in config.paths:
        heads: dict[str, list[tuple[int, tuple[str, str, str]]]] = {}
        for row in inspect(Path(path)).rows():
            triple = _triple(row.value) if isinstance(row, Row) else None
            if triple is None:
                yield Document("", Origin(path, row.number, config.licence))
            else:
                heads.setdefault(triple[0], []).append((row.number, triple))
        for of_head in heads.values():
            for start in range(0, len(of_head), config.together):
                group = of_head[start : start + config.together]
                text = "\n".join("\t".join(triple) for _, triple in group)
                yield Document(text, Origin(path, group[0][0], config.licence))


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    for record in records:
        assert isinstance(record, Document)
        lines = [line.split("\t") for line in record.text.splitlines()]
        yield Item(record, [line for line in lines if len(line) == 3])


def requests(config: Config) -> Sequence[Expected]:
    return [Expected()]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    triples: list[list[str]] = item.value
    if not triples:
        raise Rejected("no_triple", "no head, relation and tail in this row")
    made = await ask.form("question_answer", QuestionAnswer, head=triples[0][0], triples=triples)
    question, answer = made.question, made.answer
    check_length(answer, least=8, most=config.longest_answer * (1 if ask.chinese else 3), what="answer")
    check_standalone(question, what="question")
    check_language(answer, chinese=ask.chinese)
    check_answer(question, answer)
    if bare(triples[0][0]) not in bare(question + answer):
        raise Rejected("head_missing", triples[0][0])
    named = sum(bare(tail) in bare(answer) for _, _, tail in triples)
    if named < config.tails * len(triples):
        raise Rejected("tails_missing", f"{named} of {len(triples)} are named")
    check_grounded(
        answer,
        [item.record.text, question] if isinstance(item.record, Document) else [],
        support=config.support,
    )
    messages = (Message("user", question), Message("assistant", answer))
    return [Conversation(messages, item.record.origin, item.record.meta)]


def _triple(value: Any) -> tuple[str, str, str] | None:
    if isinstance(value, dict):
        named = {str(name).strip().lower(): part for name, part in value.items()}
        value = [next((named[name] for name in names if name in named), None) for names in _NAMES]
    if not isinstance(value, list) or len(value) != 3:
        return None
    texts = [" ".join(part.split()) if isinstance(part, str) else "" for part in value]
    return (texts[0], texts[1], texts[2]) if all(texts) else None
