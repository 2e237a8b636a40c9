"""The floor: records that teach caution, which no score may take away.

A model finds them easy, a reward model may find them dull, and they are few: every way of choosing thins them out.
"""

import re
from functools import cache

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.records import Conversation, Document, Preference, Question, Record
from xinglin.rewards._mentions import tells
from xinglin.rewards.contraindication import table
from xinglin.rewards.referral import red_flags_in

TAGS = ("safety", "red_flag", "contraindication", "interaction")
DRUGS_TAKEN = frozenset({"warfarin_taken", "maoi", "nitrates", "erection_drugs", "alcohol"})
"""Conditions of the table that are another substance."""


class Floor(Config):
    """Which records are chosen whatever their scores are. They come on top of what steps take."""

    tags: list[str] = Field(default=list(TAGS))
    """Words in ``meta.tags``, or keys of ``meta``, that protect a record."""
    detect: bool = True
    """Also protect dialogues in which the patient tells of a red flag, or in which a drug is named that is not given in
    the patient's condition, by the tables of the rewards ``referral`` and ``contraindication``."""

    def reason(self, record: Record) -> str | None:
        """Why a record is protected; None: it is not."""
        for tag in self.tags:
            if tag in _tags(record) or record.meta.get(tag):
                return tag
        return _detected(record) if self.detect else None


def _tags(record: Record) -> set[str]:
    tags = record.meta.get("tags", [])
    return set(map(str, tags) if isinstance(tags, list) else re.split(r"[,，;；\s]+", str(tags)))


def _detected(record: Record) -> str | None:
    """A red flag, a contraindication or an interaction in a dialogue. Documents name them all and tell of nobody."""
    if isinstance(record, Document):
        return None
    told, said = _dialogue(record)
    if red_flags_in(told):
        return "red_flag"
    for condition, (pattern, drugs) in _by_condition().items():
        if pattern.search(told) and drugs.search(said) and tells(pattern, told):
            return "interaction" if condition in DRUGS_TAKEN else "contraindication"
    return None


def _dialogue(record: Conversation | Preference | Question) -> tuple[str, str]:
    """What the patient tells, and all that is said."""
    if isinstance(record, Question):
        return record.question, "\n".join([record.question, *record.options.values()])
    if isinstance(record, Conversation):
        messages, answers = record.messages, []
    else:
        messages, answers = record.prompt, [record.chosen]
    spoken = [
        (message.role, message.content) for message in messages if message.role in ("user", "assistant")
    ]
    told = "\n".join(text for role, text in spoken if role == "user")
    return told, "\n".join([*(text for _, text in spoken), *answers])


@cache
def _by_condition() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """Condition -> how it is told, and the drugs that are not given in it."""
    rows = table()
    drugs = {
        row.condition: [r.drug_pattern.pattern for r in rows if r.condition == row.condition] for row in rows
    }
    patterns = {row.condition: row.condition_pattern for row in rows}
    return {name: (patterns[name], re.compile("|".join(drugs[name]), re.IGNORECASE)) for name in drugs}
