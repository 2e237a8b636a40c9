"""Multiple-choice questions: the share answered right.

    {"question": "妊娠期禁用", "options": {"A": "青霉素", "B": "四环素"}, "answer": "B"}

``letter``    shows the options and takes the most likely letter as the next word of the answer.
``cloze``     asks the bare question and takes the option whose text is the most likely answer. Options differ in
              length, so it is the mean log-probability per token that counts.
``generate``  shows the options, lets the model answer freely and reads the letters off its answer; the only mode
              for questions with several right answers, which count as right when all letters and no others are given.

Only modes that show the options measure what an exam does; a small model that never saw lettered options is
measured fairly by ``cloze`` alone.
"""

import math
from typing import Literal

from xinglin.data.prompts import exam_question
from xinglin.data.records import Message, Question
from xinglin.engines import Generation, Likelihood
from xinglin.evaluate.extraction import extract
from xinglin.evaluate.task import BenchmarkConfig, Item, Output, Verdict, record_error

RECORD = "question"
COMPARED = {"accuracy": "higher"}


class Config(BenchmarkConfig):
    """Multiple-choice questions."""

    name: Literal["exam"]
    """Which benchmark: a file in ``evaluate/benchmarks/``."""
    mode: Literal["letter", "cloze", "generate"] = "letter"
    """Likelihood of the letters, likelihood of the options' texts, or a free answer from which letters are read."""


def items(question: Question, config: Config) -> list[Item]:
    """One item.

    Raises:
        DataError: several right answers in a likelihood mode, or an option without text.
    """
    several = len(question.answer) > 1
    if several and config.mode != "generate":
        raise record_error(
            question,
            f"several right answers ({question.answer}) cannot be asked in mode '{config.mode}'; use generate",
        )
    if empty := [letter for letter, text in question.options.items() if not text.strip()]:
        raise record_error(question, f"option {empty[0]} has no text")
    content, choices = question.question, tuple(question.options.values())
    if config.mode != "cloze":
        free = config.mode == "generate"
        content = exam_question(question, free=free)
        choices = () if free else tuple(question.options)
    num = len(question.options)
    return [
        Item(
            prompt=(Message("user", content),),
            reference=_shown(question.answer, question),
            record=question,
            choices=choices,
            chance=1 / (2**num - 1) if several else 1 / num,
        )
    ]


def score(item: Item, output: Output, config: Config) -> Verdict:
    question = item.record
    assert isinstance(question, Question)
    if isinstance(output, Generation):
        letters = extract(output.text, question.options)
    else:
        letters = _most_likely(tuple(question.options), output, per_token=config.mode == "cloze")
    correct = letters == "".join(sorted(question.answer))
    scores = {"accuracy": correct, "answered": letters != ""}
    if isinstance(output, Generation):
        scores["truncated"] = output.finish == "length"
    return Verdict(_shown(letters, question), correct, scores)


def _most_likely(letters: tuple[str, ...], likelihoods: tuple[Likelihood, ...], *, per_token: bool) -> str:
    """The letter of the largest likelihood; '' where none is a number, as of a model that overflows."""
    values = [each.total / each.tokens if per_token else each.total for each in likelihoods]
    ranked = [(value, letter) for value, letter in zip(values, letters, strict=True) if not math.isnan(value)]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else ""


def _shown(letters: str, question: Question) -> str:
    return "; ".join(f"{letter}. {question.options[letter]}" for letter in letters)
