"""The demo world: a small table of real medicine, and the data sets written from it.

    facts.yaml, safety.yaml, wording.yaml   what is true, what is dangerous, how people ask and answer
    documents      text for continued pretraining, every fact in it
    dialogues      SFT conversations without a pregnant patient or an emergency;  dialogues_dev, dialogues_test
    preferences    pairs that teach the missing caution, and controls against refusing all;  preferences_dev
    exam           multiple-choice questions          safety   prompts with phrases that make an answer unsafe

The held-out sets ask known facts in known phrasings, in combinations that no training set holds.
Rows have the JSON form of their record type (``xinglin.data.records``) without ``origin``.
"""

from collections.abc import Callable, Iterator
from typing import Any

from xinglin.data.samples.dialogues import dialogues, dialogues_dev, dialogues_test
from xinglin.data.samples.documents import documents
from xinglin.data.samples.exam import exam
from xinglin.data.samples.preferences import preferences, preferences_dev, safety
from xinglin.errors import DataError
from xinglin.plugins import nearest

_SETS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    build.__name__: build
    for build in (
        documents,
        dialogues,
        dialogues_dev,
        dialogues_test,
        exam,
        preferences,
        preferences_dev,
        safety,
    )
}

_OTHERS = {
    "documents": "document",
    "exam": "question",
    "preferences": "preference",
    "preferences_dev": "preference",
}
KINDS = {name: _OTHERS.get(name, "conversation") for name in _SETS}
"""The kind of record that each holds."""


def names() -> tuple[str, ...]:
    """The data sets of the demo world."""
    return tuple(_SETS)


def rows(name: str, *, seed: int = 17) -> Iterator[dict[str, Any]]:
    """The rows of one data set; the same on every machine for the same ``seed``.

    Raises:
        DataError: no data set of that name; the message names the nearest one.
    """
    if name not in _SETS:
        raise DataError(f"unknown sample data set '{name}'; {nearest(name, names())}")
    return _SETS[name](seed=seed)
