"""Published methods as scores and steps: what ``method:`` of a select stage stands for."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from xinglin.selection.pool import Size

Method = Literal["ifd", "superfilter", "mods", "car", "deita"]
Rows = list[dict[str, Any]]
Taking = dict[str, Any]

SCORES: Mapping[Method, tuple[str, ...]] = {
    "ifd": ("ifd",),
    "superfilter": ("superfilter",),
    "mods": ("reward", "necessity"),
    "car": ("reward",),
    "deita": ("ifd", "reward"),
}
"""What each method scores by; the options of a score that a recipe lists itself hold."""


def _ifd(size: Taking, half: Taking) -> Rows:
    return [{"name": "drop", "score": "ifd", "above": 1.0}, {"name": "top", "score": "ifd", **size}]


def _superfilter(size: Taking, half: Taking) -> Rows:
    return [
        {"name": "drop", "score": "superfilter", "above": 1.0},
        {"name": "top", "score": "superfilter", **size},
    ]


def _mods(size: Taking, half: Taking) -> Rows:
    """Quality, then coverage, then necessity; which is the answer's loss here, without its highest 2 %."""
    return [
        {"name": "drop", "score": "reward", "below": 0.0},
        {"name": "drop", "score": "necessity", "highest": 0.02},
        {"name": "k_center", **half},
        {"name": "top", "score": "necessity", **size},
    ]


def _car(size: Taking, half: Taking) -> Rows:
    """The best of every cluster, then the best of all."""
    return [{"name": "clusters", "score": "reward", **size}, {"name": "top", "score": "reward", **size}]


def _deita(size: Taking, half: Taking) -> Rows:
    """Complexity times quality, as ranks."""
    return [
        {"name": "drop", "score": "ifd", "above": 1.0},
        {"name": "diverse", "score": ["ifd", "reward"], **size},
    ]


_STEPS: Mapping[Method, Callable[[Taking, Taking], Rows]] = {
    "ifd": _ifd,
    "superfilter": _superfilter,
    "mods": _mods,
    "car": _car,
    "deita": _deita,
}


def steps_of(method: Method, size: Size) -> Rows:
    """The steps of a method, as a recipe would list them."""
    if size.tokens is not None:
        return _STEPS[method]({"tokens": size.tokens}, {"tokens": max(1, size.tokens // 2)})
    assert size.keep is not None
    half = size.keep / 2 if isinstance(size.keep, float) else max(1, size.keep // 2)
    return _STEPS[method]({"keep": size.keep}, {"keep": half})
