"""Exam questions with lettered options and one or several right answers.

    {"question": "感冒最常见的病原体是", "options": {"A": "病毒", "B": "细菌", "C": "真菌"}, "answer": "A"}

    options     an object (also ``option``: CMB), a list, columns A, B, C… (CMMLU), or opa…opd (MedMCQA)
    answer      letters ("A", "ACD", "A,C", ["A", "C"]), the text of an option, or its number; ``answer_idx``
                (MedQA) goes first where a row has both, and ``cop`` (MedMCQA) is a number

Empty options are left out. What else a row holds (explanation, exam, subject) travels in ``meta``.
"""

import re
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Row, _turns
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
    choices = _choices(listed)
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
    if all(key in row for key in MEDMCQA):
        return {letter: row[key] for letter, key in zip(ascii_uppercase, MEDMCQA, strict=False)}
    if "A" in row and "B" in row:
        return {letter: row[letter] for letter in ascii_uppercase if letter in row}
    return None


def _choices(listed: Mapping[str, Any] | list[Any] | None) -> dict[str, str]:
    named = listed if isinstance(listed, Mapping) else _lettered(listed or [])
    choices = {key.strip().upper(): _turns.text(value, f"option {key}") for key, value in named.items()}
    if len(choices) < len(named) or any(len(key) != 1 or key not in ascii_uppercase for key in choices):
        raise Reject("bad_options", f"options are named {', '.join(named)}, not by letters")
    choices = {key: value for key, value in sorted(choices.items()) if value.strip()}
    if len(choices) < 2:
        raise Reject("bad_options", f"{len(choices)} options with text")
    return choices


def _lettered(listed: list[Any]) -> dict[str, Any]:
    """A list by position; a letter that every option repeats ("A. 病毒") is taken off."""
    if len(listed) > len(ascii_uppercase):
        raise Reject("bad_options", f"{len(listed)} options")
    texts = [_turns.text(value, "option") for value in listed]
    marks = [
        re.match(rf"\s*{letter}\s*[.．、:：)）]\s*", text)
        for letter, text in zip(ascii_uppercase, texts, strict=False)
    ]
    if all(marks):
        texts = [text[mark.end() :] for mark, text in zip(marks, texts, strict=True) if mark]
    return dict(zip(ascii_uppercase, texts, strict=False))


def _answer(row: Mapping[str, Any], choices: Mapping[str, str], *, named: bool, first: int | None) -> str:
    """The right letters in order. Options with names are answered by name first, listed ones by text first."""
    given = next(
        (row[key] for key in ("answer_idx", "answer", "cop") if row.get(key) not in (None, "", [])), None
    )
    if given is None:
        raise Reject("no_answer", "no answer, answer_idx or cop")
    by_letter, by_text = _by_letter(given, choices), _by_text(given, choices)
    if isinstance(given, int) or (not by_text and str(given).isdecimal()):
        return _numbered(int(given), choices, first)
    answer = (by_letter or by_text) if named else (by_text or by_letter)
    if not answer:
        raise Reject("bad_answer", f"{str(given)[:80]!r} is none of {', '.join(choices)}")
    if "answer_idx" in row and _by_text(row.get("answer"), choices) not in ("", answer):
        raise Reject("bad_answer", f"answer_idx {answer} and answer {row['answer']!r} differ")
    return answer


def _numbered(number: int, choices: Mapping[str, str], first: int | None) -> str:
    if first is None:
        raise Reject("ambiguous_answer", f"answer {number}: set the option first_option to 0 or 1")
    letter = dict(enumerate(ascii_uppercase, start=first)).get(number)
    if letter not in choices:
        raise Reject("bad_answer", f"answer {number} is no option when counted from {first}")
    return letter


def _by_letter(given: Any, choices: Mapping[str, str]) -> str:
    letters = set(
        "".join(given) if isinstance(given, list) and all(isinstance(g, str) for g in given) else str(given)
    )
    letters = {letter.upper() for letter in letters} - set(" ,，、;；.")
    return "".join(sorted(letters)) if letters and letters <= choices.keys() else ""


def _by_text(given: Any, choices: Mapping[str, str]) -> str:
    letters = [letter for letter, text in choices.items() if text == given]
    return letters[0] if len(letters) == 1 else ""
