"""Exam questions with lettered options and one or several right answers.

    {"question": "感冒最常见的病原体是", "options": {"A": "病毒", "B": "细菌", "C": "真菌"}, "answer": "A"}

    options     an object (also ``option``: CMB), a list, also of ``{"key": "A", "value": …}``, lines of a text
                (CMExam: "A 病毒\\nB 细菌"), columns A, B, C… (CMMLU, C-Eval), or opa…opd (MedMCQA)
    answer      letters ("A", "ACD", "A,C", ["A", "C"]), the text of an option, or its number; ``answer_idx``
                (MedQA) goes first where a row has both, and ``cop`` (MedMCQA) is a number

Empty options are left out. What else a row holds (explanation, exam, subject) travels in ``meta``.
"""

from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Row, _choices, _turns
from xinglin.data.records import Origin, Question

RECORD = "question"
UNIT = "row"
MEDMCQA = ("opa", "opb", "opc", "opd")
READ = ("question", "options", "option", "answer", "answer_idx", "cop", *MEDMCQA)


class Options(Config):
    first_option: Literal[0, 1] | None = None
    """The number of the first option, for sets whose answers are numbers: MedMCQA counts from 1 in its own
    files and from 0 on the Hub, and a wrong guess would make every answer wrong."""


def matches(row: Row) -> bool:
    return (
        isinstance(row, dict) and bool(_lower(row).get("question")) and _options_in(_lower(row)) is not None
    )


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Question]:
    low = _lower(row)
    question = _turns.text(low["question"], "question")
    if not question.strip():
        raise Reject("empty", "no question")
    listed = _options_in(low)
    choices = _choices.checked(listed or {})
    answer = _answer(low, choices, named=isinstance(listed, Mapping), first=options.first_option)
    read = {key for key in row if key.lower() in READ or (len(key) == 1 and key in choices)}
    yield Question(question, choices, answer, origin, _turns.rest(row, *read))


def _lower(row: Mapping[str, Any]) -> dict[str, Any]:
    """Column names of tables differ in case only (CMMLU: Question, Answer); option letters stay as they are."""
    return {key if len(key) == 1 else key.lower(): value for key, value in row.items()}


def _options_in(row: Mapping[str, Any]) -> Mapping[str, Any] | list[Any] | None:
    for key in ("options", "option"):
        if isinstance(row.get(key), Mapping | list):
            return row[key]
        if isinstance(row.get(key), str) and (found := _choices.lettered(row[key])):
            return found
    if all(key in row for key in MEDMCQA):
        return {letter: row[key] for letter, key in zip(ascii_uppercase, MEDMCQA, strict=False)}
    if "A" in row and "B" in row:
        return {letter: row[letter] for letter in ascii_uppercase if letter in row}
    return None


def _answer(row: Mapping[str, Any], choices: Mapping[str, str], *, named: bool, first: int | None) -> str:
    """The right letters in order. Options with names are answered by name first, listed ones by text first."""
    given = next(
        (row[key] for key in ("answer_idx", "answer", "cop") if row.get(key) not in (None, "", [])), None
    )
    if given is None:
        raise Reject("no_answer", "no answer, answer_idx or cop")
    answer = _choices.answer(given, choices, by_name=named, first=first)
    if "answer_idx" in row and _choices.by_text(row.get("answer"), choices) not in ("", answer):
        raise Reject("bad_answer", f"answer_idx {answer} and answer {row['answer']!r} differ")
    return answer
