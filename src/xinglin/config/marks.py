"""Marked settings: where a stage's settings name its inputs, and splits of its data."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args

from pydantic import BaseModel

from xinglin.config.base import SplitName
from xinglin.config.load import Keys
from xinglin.config.validate import field_models
from xinglin.plugins import nearest


class SplitFacts(NamedTuple):
    """What is known about a split before it is made."""

    held_out: bool
    record: str | None = None
    """The kind of its records; None: only reading them tells."""


Splits = Mapping[str, SplitFacts]
"""Name of a split -> what is known about it."""
_Mark = TypeVar("_Mark")


class Place(NamedTuple, Generic[_Mark]):
    """A marked value in the settings of a stage."""

    keys: Keys
    """Field names, and numbers for the items of lists: ``("rewards", "0", "model")``."""
    mark: _Mark
    text: str | None


def marked(config: type[BaseModel], values: Mapping[str, Any], kind: type[_Mark]) -> Iterator[Place[_Mark]]:
    """Every value with a mark of ``kind`` among ``values``, the settings of a ``config`` as plain data, those of
    nested settings too."""
    for name, field in config.model_fields.items():
        if name not in values:
            continue
        mark = next((m for m in (*field.metadata, *_marks(field.annotation)) if isinstance(m, kind)), None)
        value = values[name]
        items = [((name, str(i)), item) for i, item in enumerate(value)] if isinstance(value, list) else []
        for keys, item in items or [((name,), value)]:
            if mark and (item is None or isinstance(item, str)):
                yield Place(keys, mark, item)
            elif not mark and isinstance(item, Mapping):
                inner = next((model for model in field_models(field) if _may_be(model, item)), None)
                for place in marked(inner, item, kind) if inner else ():
                    yield place._replace(keys=(*keys, *place.keys))


class WrongSplit(NamedTuple):
    keys: Keys
    message: str
    cure: str


def wrong_splits(
    config: type[BaseModel], values: Mapping[str, Any], known: Splits, *, data: str
) -> Iterator[WrongSplit]:
    """Splits that settings name and the data set ``data`` does not have, or has for evaluation only."""
    for place in marked(config, values, SplitName):
        if place.text is None:
            continue
        if place.text not in known:
            yield WrongSplit(
                place.keys, f"{data} has no split '{place.text}'", nearest(place.text, list(known))
            )
        elif place.mark.trained and known[place.text].held_out:
            message = f"split '{place.text}' is held out for evaluation"
            yield WrongSplit(place.keys, message, "name another one to train on")


def splits_in(folder: Path) -> dict[str, SplitFacts]:
    """The splits of a finished data set."""
    details = json.loads((folder / "artifact.json").read_text(encoding="utf-8")).get("details", {})
    return {
        name: SplitFacts(bool(split.get("held_out")), split.get("record"))
        for name, split in details.get("splits", {}).items()
    }


def _marks(annotation: Any) -> Iterator[Any]:
    """The marks of a type and of what it is made of; settings in it have marks of their own."""
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _marks(argument)


def _may_be(model: type[BaseModel], values: Mapping[str, Any]) -> bool:
    """Whether ``values`` have the ``name`` by which one kind of settings in a union is told from the others."""
    name = model.model_fields.get("name")
    names = get_args(name.annotation) if name else ()
    return not names or values.get("name") in names
