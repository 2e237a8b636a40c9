"""Correct: whether the last answer gives the right letters, where the answer key is known."""

from typing import Literal

from xinglin.data.prompts import EXAM
from xinglin.data.records import Conversation, Record
from xinglin.evaluate.extraction import extract, final_answer
from xinglin.selection.scores import Context, Score, ScoreConfig, Value

RECORDS = ("conversation",)


class Config(ScoreConfig):
    """1 for an answer that commits to the right options, 0 for any other: drop those, they are a teacher's mistakes.
    Conversations without an answer key in ``meta.exam`` have no such score."""

    name: Literal["correct"]
    """This score."""


def open(config: Config, context: Context) -> Score:
    return lambda records: [_correct(record) for record in records]


def _correct(record: Record) -> Value:
    assert isinstance(record, Conversation)
    key = record.meta.get(EXAM)
    if not key:
        return None
    given = extract(final_answer(record.messages[-1].content), key["options"])
    return float(given != "" and given == "".join(sorted(key["answer"])))
