"""Difficulty: how unlikely a model finds the right options of an exam question."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from xinglin.data.prompts import EXAM, exam_question, prompt_of
from xinglin.data.records import Message, Question, Record
from xinglin.data.writing.language import contains_chinese
from xinglin.engines import Likelihood
from xinglin.errors import DataError
from xinglin.selection.scores import Context, Reads, Score, ScoreConfig, Unscored, Value

RECORDS = ("question", "conversation")


class Config(ScoreConfig, Reads):
    """1 minus the probability of the right options among all, so that near 0 stands what the model knows already.
    Conversations are scored if they have the answer key in ``meta.exam``, as stage ``sample`` leaves it there."""

    name: Literal["difficulty"]
    """This score."""
    mode: Literal["letter", "cloze"] = "letter"
    """``letter``: how likely "答案：B" or "Answer: B" is. ``cloze``: how likely the text of the option is per token,
    asked without options; for small models that never saw letters."""


class _Asked(NamedTuple):
    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    right: np.ndarray
    """(choices,) bool."""

    def difficulty(self, found: Sequence[Likelihood], mode: str) -> float:
        logits = np.array([each.total / (each.tokens if mode == "cloze" else 1) for each in found])
        shares = np.exp(logits - logits.max())
        return 1 - float(shares[self.right].sum() / shares.sum())


def open(config: Config, context: Context) -> Score:
    engine = context.engine(config)

    def score(records: Sequence[Record]) -> list[Value]:
        try:
            asked = [_asked(record, config.mode) for record in records]
            requests = [(each.messages, choice) for each in asked if each for choice in each.choices]
            found = iter(engine.log_likelihoods(requests))
        except DataError as error:
            if len(records) > 1:
                return [value for record in records for value in score([record])]
            return [Unscored("not_scorable", str(error))]
        return [
            each.difficulty([next(found) for _ in each.choices], config.mode) if each else None
            for each in asked
        ]

    return score


def _asked(record: Record, mode: str) -> _Asked | None:
    if isinstance(record, Question):
        text = record.question if mode == "cloze" else exam_question(record, free=True)
        return _with_key((Message("user", text),), {"options": record.options, "answer": record.answer}, mode)
    key = record.meta.get(EXAM)
    return _with_key(prompt_of(record).messages, key, mode) if key else None


def _with_key(messages: tuple[Message, ...], key: Mapping[str, Any], mode: str) -> _Asked:
    options: Mapping[str, str] = key["options"]
    named = "答案：" if contains_chinese(messages[-1].content) else "Answer: "
    choices = options.values() if mode == "cloze" else (named + letter for letter in options)
    return _Asked(messages, tuple(choices), np.array([letter in key["answer"] for letter in options]))
