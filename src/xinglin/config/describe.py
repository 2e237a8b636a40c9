"""A config class as a table: what can be set, its type, its default, and what it does."""

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    key: str
    """Dotted; ``*`` stands for any name, ``0`` for any item of a list."""
    type: str
    default: str
    """As YAML has it; ``required`` where there is none."""
    doc: str


def settings(model: type[BaseModel], *, prefix: str = "") -> Iterator[Setting]:
    """Every field of ``model``, and below each those of the config class that it holds."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner, step = _inner(field.annotation)
        doc = " ".join((field.description or "").split())
        yield Setting(key, _bounded(type_text(field.annotation), field.metadata), _default(field, inner), doc)
        if inner is not None:
            yield from settings(inner, prefix=f"{key}{step}.")


def type_text(annotation: Any) -> str:
    """A type in words of YAML: ``text``, ``number``, ``list of text``, ``cosine | linear``."""
    simple = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true | false",
        type(None): "null",
        Any: "any",
    }
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in simple:
        return simple[annotation]
    if origin is Annotated:
        return _bounded(type_text(arguments[0]), arguments[1:])
    if origin is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(
            dict.fromkeys(type_text(member) for member in arguments if member is not type(None))
        )
    if origin in (list, tuple):
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"mapping to {type_text(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    return getattr(annotation, "__name__", str(annotation))


def _bounded(text: str, metadata: Iterable[Any]) -> str:
    """Pydantic keeps the bounds of a field in its metadata, and inside unions and lists in a nested field."""
    marks = [mark for each in metadata for mark in (each.metadata if isinstance(each, FieldInfo) else [each])]
    bounds = [
        f"{sign} {value}"
        for mark in marks
        for name, sign in _BOUNDS.items()
        if (value := getattr(mark, name, None)) is not None
    ]
    return f"{text} {', '.join(bounds)}" if bounds else text


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The one config class that a field holds, and the key between both: ``.*`` in a mapping, ``.0`` in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _inner(arguments[0])
    if origin is dict:
        inner, step = _inner(arguments[1])
        return inner, f".*{step}"
    if origin is list:
        inner, step = _inner(arguments[0])
        return inner, f".0{step}"
    members = [member for member in arguments if member is not type(None)]
    return _inner(members[0]) if origin in (Union, types.UnionType) and len(members) == 1 else (None, "")


def _default(field: FieldInfo, inner: type[BaseModel] | None) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel) and inner is not None:
        return ""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
