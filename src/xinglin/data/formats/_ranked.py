"""Answers in an order of quality, as pairs of a better and a worse one."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from xinglin.data.formats import Reject

LISTS = ("answers", "responses", "completions")
ORDERS = ("ranks", "scores")
_TEXTS = ("answer", "response", "content", "text")


class Pair(NamedTuple):
    better: str
    worse: str
    margin: float | None
    """Difference of their scores, where the row has scores."""


def list_key(row: Mapping[str, Any]) -> str | None:
    """The key under which a row has several answers, if any."""
    return next((key for key in LISTS if isinstance(row.get(key), list) and len(row[key]) > 1), None)


def pairs(row: Mapping[str, Any], key: str) -> Iterator[Pair]:
    """Every two answers of which one is better; ties and equal texts give none. Raises: Reject."""
    answers = row[key]
    texts = [_text(answer, number) for number, answer in enumerate(answers, start=1)]
    scores = _order(row, answers, "scores", ("score", "overall_score"))
    ranks = _order(row, answers, "ranks", ("rank",))
    if scores is None and ranks is None and not all(isinstance(answer, str) for answer in answers):
        raise Reject(
            "no_order", "the answers have neither rank nor score, and are not plain texts, best first"
        )
    worth = scores or [-rank for rank in ranks or range(len(texts))]
    for first, second in combinations(range(len(texts)), 2):
        better, worse = (first, second) if worth[first] > worth[second] else (second, first)
        if worth[better] > worth[worse] and texts[better].strip() != texts[worse].strip():
            yield Pair(texts[better], texts[worse], scores[better] - scores[worse] if scores else None)


def _text(answer: Any, number: int) -> str:
    if isinstance(answer, Mapping):
        answer = next((answer[key] for key in _TEXTS if key in answer), None)
    if not isinstance(answer, str) or not answer.strip():
        raise Reject("no_answer", f"answer {number} has no text")
    return answer


def _order(
    row: Mapping[str, Any], answers: list[Any], beside: str, within: tuple[str, ...]
) -> list[float] | None:
    """The numbers in a list ``beside`` the answers, or ``within`` each of them; None if there are none."""
    values = row.get(beside)
    if values is None and all(isinstance(answer, Mapping) for answer in answers):
        key = next((key for key in within if key in answers[0]), None)
        values = [answer.get(key) for answer in answers] if key else None
    if values is None:
        return None
    numbers = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or len(values) != len(answers):
        raise Reject("bad_order", f"{beside} are not {len(answers)} numbers")
    return [float(value) for value in values]
