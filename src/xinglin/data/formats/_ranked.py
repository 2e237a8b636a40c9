"""Answers in an order of quality, as pairs of a better and a worse one."""

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

from xinglin.data.formats import Reject

LISTS = ("answers", "responses", "completions")
ORDERS = ("ranks", "scores")
_COLUMN = re.compile(r"rank_?[1-9]\d?")
_TEXTS = ("answer", "response", "content", "text")


class Pair(NamedTuple):
    better: str
    worse: str
    margin: float | None
    """Difference of their scores, where the row has scores."""


Which = Literal["all", "adjacent", "best_worst"]


def columns(row: Mapping[str, Any]) -> list[str]:
    """Columns ``rank1``, ``rank2``, … that hold one answer each, the best one first (Zhongjing)."""
    found = [key for key in row if isinstance(key, str) and _COLUMN.fullmatch(key)]
    return sorted(found, key=lambda key: int(key.removeprefix("rank").lstrip("_"))) if len(found) > 1 else []


def list_key(row: Mapping[str, Any]) -> str | None:
    """The key under which a row has several answers, if any."""
    return next((key for key in LISTS if isinstance(row.get(key), list) and len(row[key]) > 1), None)


def pairs(row: Mapping[str, Any], key: str, which: Which = "all") -> Iterator[Pair]:
    """Every two answers of which one is better, or those of them that ``which`` names; ties and equal texts give none.

    Raises: Reject.
    """
    answers = row[key]
    texts = [_text(answer, number) for number, answer in enumerate(answers, start=1)]
    scores = _order(row, answers, "scores", ("score", "overall_score"))
    ranks = _order(row, answers, "ranks", ("rank",))
    if scores is None and ranks is None and not all(isinstance(answer, str) for answer in answers):
        raise Reject(
            "no_order", "the answers have neither rank nor score, and are not plain texts, best first"
        )
    worth = scores or [-rank for rank in ranks or range(len(texts))]
    order = sorted(range(len(texts)), key=lambda number: -worth[number])
    for better, worse in _chosen(order, worth, which):
        if worth[better] > worth[worse] and texts[better].strip() != texts[worse].strip():
            yield Pair(texts[better], texts[worse], scores[better] - scores[worse] if scores else None)


def _chosen(order: list[int], worth: list[float], which: Which) -> Iterator[tuple[int, int]]:
    """Answers by number, two at a time, the better one first; ``order`` has the best one first."""
    if which == "best_worst":
        yield order[0], order[-1]
    elif which == "all":
        yield from ((a, b) if worth[a] > worth[b] else (b, a) for a, b in combinations(range(len(order)), 2))
    else:
        levels = sorted(set(worth), reverse=True)
        for above, below in pairwise(levels):
            yield from ((a, b) for a in order if worth[a] == above for b in order if worth[b] == below)


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
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        for value in values
    )
    if not numbers or len(values) != len(answers):
        raise Reject("bad_order", f"{beside} are not {len(answers)} numbers")
    return [float(value) for value in values]
