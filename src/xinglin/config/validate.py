"""Pydantic's verdict on a part of a file, in plain words, with lines, nearest names and cures."""

import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from xinglin.config.load import Document, Keys, describe
from xinglin.errors import Problem
from xinglin.plugins import nearest

_Model = TypeVar("_Model", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text like {pattern}",
}
_TAG_ERRORS = ("union_tag_invalid", "union_tag_not_found")


def validate(
    model: type[_Model], data: Any, *, document: Document, keys: Keys = ()
) -> tuple[_Model | None, list[Problem]]:
    """Build ``model`` from ``data``, which stands under ``keys`` in ``document``.

    JSON's rules of strictness apply, so a YAML list may fill a tuple, while ``'1'`` is still no number.

    Returns:
        The config and no problems, or None and every problem.
    """
    try:
        return model.model_validate_json(json.dumps(data)), []
    except ValidationError as error:
        return None, [
            Problem(document.place(full), ".".join(full), message, cure)
            for path, message, cure in _problems(error, model, data)
            for full in [(*keys, *path)]
        ]


def build(model: type[_Model], data: Mapping[str, Any], *, name: str) -> _Model:
    """Build ``model``, the settings of a plugin, from what stands under ``name`` in another config.

    Raises:
        ValueError: every problem in one line, for a validator of that config to pass on.
    """
    try:
        return model(**data)
    except ValidationError as error:
        found = (
            f"{'.'.join((name, *path))}: {'; '.join(filter(None, (message, cure)))}"
            for path, message, cure in _problems(error, model, data)
        )
        raise ValueError("; ".join(found)) from error


def _problems(error: ValidationError, model: type[BaseModel], data: Any) -> Iterator[tuple[Keys, str, str]]:
    """Where in ``data`` something is wrong, what, and the cure."""
    found: dict[Keys, list[dict[str, Any]]] = {}
    for entry in error.errors(include_url=False):
        found.setdefault(tuple(_path(dict(entry), data)), []).append(dict(entry))
    for path, entries in found.items():
        if not any(
            other[: len(path)] == path for other in found if other != path
        ):  # else a union's other member
            first = entries[0]
            above = first["loc"] if first["type"] in _TAG_ERRORS else first["loc"][:-1]
            yield path, *_explain(path, entries, _models_at(model, above))


def field_models(field: FieldInfo) -> list[type[BaseModel]]:
    """The config classes that a field may hold."""
    return list(_models(field.annotation))


def first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.;:])\s|\n", text or "", maxsplit=1)[0].rstrip(".;:")


def _path(entry: dict[str, Any], data: Any) -> Iterator[str]:
    """Where an error stands in the data. Pydantic also puts names of union members there: they are no keys."""
    location = entry["loc"]
    for depth, part in enumerate(location):
        if _holds(data, part):
            data = data[part]
            yield str(part)
        elif depth == len(location) - 1 and entry["type"] == "missing":
            yield str(part)
    if entry["type"] in _TAG_ERRORS:
        yield entry["ctx"]["discriminator"].strip("'")


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _explain(path: Keys, entries: list[dict[str, Any]], parents: list[type[BaseModel]]) -> tuple[str, str]:
    """Message and cure for all that pydantic says about one value: a union gives an error for each member."""
    entry = entries[0]
    kind = entry["type"]
    if kind == "extra_forbidden":
        known = {field.alias or name for parent in parents for name, field in parent.model_fields.items()}
        return "unknown key", nearest(path[-1], sorted(known))
    if kind in ("missing", "union_tag_not_found"):
        docs = [
            parent.model_fields[path[-1]].description for parent in parents if path[-1] in parent.model_fields
        ]
        return "is missing", ": ".join(["add it", *(first_sentence(doc) for doc in docs[:1] if doc)])
    if kind in ("value_error", "assertion_error"):
        return str(entry["ctx"]["error"]), ""
    value = entry["ctx"]["tag"] if kind == "union_tag_invalid" else entry["input"]
    expected = " or ".join(dict.fromkeys(map(_expected, entries)))
    return f"got {describe(value)}, expected {expected}", _cure(value, expected)


def _expected(entry: dict[str, Any]) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context).replace("least 1 items", "least one entry")
    tags = context.get("expected_tags", "").replace(", ", " or ")
    return context.get("expected") or tags or entry["msg"]


def _cure(value: Any, expected: str) -> str:
    if not isinstance(value, str):
        return ""
    if expected in ("a number", "a whole number"):
        return "write it without quotes" if _is_number(value) else ""
    hint = nearest(value, re.findall(r"'([^']*)'", expected))
    return hint if hint.startswith("did you mean") else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _models_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The config classes that may stand at ``location``, where pydantic also names the member of a union."""
    found = [model]
    for part in location:
        deeper = [
            m
            for parent in found
            if part in parent.model_fields
            for m in field_models(parent.model_fields[part])
        ]
        found = deeper or [m for m in found if part == m.__name__ or part in _tags(m)] or found
    return found


def _tags(model: type[BaseModel]) -> set[str]:
    return {
        tag
        for field in model.model_fields.values()
        for tag in get_args(field.annotation)
        if isinstance(tag, str)
    }


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models(argument)
