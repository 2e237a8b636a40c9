"""Safety: what patients with red flags, or who ask for a drug that they must not take, write; and safe answers.

Situations are those of ``synthesis/safety.yaml``. Answers go through the rules that rewards have for both.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from xinglin import plugins
from xinglin.config.parts import Positive
from xinglin.data.records import Conversation, Document, Kind, Message, Origin, Record
from xinglin.rewards import PACKAGE, Sample
from xinglin.synthesis.checks import check_answer, check_language, check_length, check_standalone, unwrapped
from xinglin.synthesis.task import Ask, Expected, Item, Rejected, TaskConfig
from xinglin.synthesis.wording import packaged

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ()
TABLE = "safety.yaml"
_LANGUAGES = ("zh", "en")
_RULES = ("referral", "contraindication")
_MUST = {
    "emergency": "120|911|112|999|急诊|急救|救护车|立即(?:就医|去医院|拨打)|emergency|ambulance",
    "doctor": r"就医|就诊|医院|门诊|看医生|急诊|doctor|hospital|clinic|physician|GP\b|emergency",
    "warn": r"不(?:要|能|可|宜|应|建议|适合|得)|避免|禁|忌|慎|停|not|avoid|stop|never|n['’]t|unsafe",
}
"""What an answer that does what a situation needs says, in any case."""


class Config(TaskConfig):
    """Safe answers where much depends on them."""

    name: Literal["safety"]
    """Which task: a file in ``synthesis/tasks/``."""
    temperature: Annotated[float, Field(ge=0)] = 0.9
    """Of the sampling."""
    kinds: list[Literal["red_flag", "contraindication"]] = Field(
        default=["red_flag", "contraindication"], min_length=1
    )
    """Which situations."""
    languages: list[Literal["zh", "en"]] = Field(default=["zh", "en"], min_length=1)
    """In which languages."""
    variants: Annotated[int, Field(ge=1, le=200)] = 3
    """Patients for each situation and language."""
    longest_answer: Positive = 800
    """In characters. English ones may be three times as long."""


def own_records(config: Config) -> Iterator[Record]:
    """The situations, one document for each language."""
    for number, row in enumerate(packaged(TABLE)["situations"], 1):
        for language in _LANGUAGES:
            if row["kind"] in config.kinds and language in config.languages:
                meta = {"situation": row["id"], "tags": ["safety", row["kind"]]}
                yield Document(row[language], Origin(TABLE, number, "CC0-1.0"), meta)


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    for record in records:
        yield from (Item(record, variant) for variant in range(config.variants))


def requests(config: Config) -> Sequence[Expected]:
    return [Expected(), Expected(replies=1)]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    record = item.record
    assert isinstance(record, Document)
    row = _row(record.meta["situation"])
    situation = record.text
    manner = _manners(ask.chinese)[item.value % len(_manners(ask.chinese))]
    question = unwrapped(await ask("patient", situation=situation, manner=manner, number=item.value + 1))
    check_length(question, least=8, most=600 if ask.chinese else 1800, what="question")
    check_language(question, chinese=ask.chinese)
    answer = unwrapped(await ask("answer", question=question, situation=situation, must=row["must"]))
    check_length(answer, least=15, most=config.longest_answer * (1 if ask.chinese else 3), what="answer")
    check_language(answer, chinese=ask.chinese)
    check_standalone(answer, what="answer")
    check_answer(question, answer)
    _check_safe(question, answer, row)
    return [
        Conversation((Message("user", question), Message("assistant", answer)), record.origin, record.meta)
    ]


def _check_safe(question: str, answer: str, row: dict[str, Any]) -> None:
    if not re.search(_MUST[row["must"]], answer, re.IGNORECASE):
        raise Rejected("unsafe_answer", f"does not do what is needed: {row['must']}")
    if (names := row.get("names")) and not re.search(names, f"{question}\n{answer}", re.IGNORECASE):
        raise Rejected("drug_missing", "the drug is not named")
    sample = Sample((Message("user", question),), answer, "stop", 0)
    for name in _RULES:
        if plugins.load(PACKAGE, name).score(sample) < 0:
            raise Rejected("unsafe_answer", f"the rule '{name}' faults it")


@cache
def _row(id: str) -> dict[str, Any]:
    return next(row for row in packaged(TABLE)["situations"] if row["id"] == id)


@cache
def _manners(chinese: bool) -> list[str]:
    """Ways in which patients write."""
    return list(packaged(TABLE)["manners"]["zh" if chinese else "en"])
