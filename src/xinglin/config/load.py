"""A YAML 1.2 file that knows on which line every key stands, and ``--set`` overrides on top of it.

``1e-4`` is a number and ``no`` is a string, as YAML 1.2 has it. A key that stands twice is an error.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from xinglin.errors import Problem, RecipeError

Keys = tuple[str, ...]
"""The way from the top of the file to a value; list items are numbers written as text."""

OVERRIDE = "--set"


class Document:
    """A parsed file: its data, and the place of every key."""

    def __init__(self, path: Path, root: CommentedMap):
        self.path = path
        self.root = root
        self._overridden: set[Keys] = set()
        self._overlaid: dict[Keys, Keys] = {}

    def override(self, assignment: str) -> Problem | None:
        """Apply ``a.b=value``, the value read as YAML. Missing mappings on the way are made.

        Returns:
            What is wrong with the assignment, else None.
        """
        name, equals, text = assignment.partition("=")
        keys = tuple(name.split("."))
        if not equals or not all(keys):
            return Problem(OVERRIDE, assignment, "is not KEY=VALUE", "write e.g. --set stages.sft.epochs=2")
        try:
            value = YAML(typ="rt", pure=True).load(text)
        except YAMLError as error:
            return Problem(OVERRIDE, name, f"'{text}' is not YAML ({_reason(error)})", "quote the value")
        return self._assign(keys, value)

    def _assign(self, keys: Keys, value: Any) -> Problem | None:
        node: Any = self.root
        for depth, key in enumerate(keys):
            last = depth == len(keys) - 1
            place = _find(node, key)
            if place is None and not isinstance(node, CommentedMap):
                above = ".".join(keys[:depth])
                return Problem(
                    OVERRIDE,
                    ".".join(keys),
                    f"'{above}' holds {describe(node)}, not a mapping",
                    f"set {above} itself",
                )
            own = key if place is None else place
            if last or place is None:
                node[own] = value if last else CommentedMap()
                self._overridden.add(keys[: depth + 1])
            else:
                node[own] = copy.deepcopy(node[own])  # an alias (``*name``) elsewhere keeps its value
            node = node[own]
        return None

    def overlay(self, section: str) -> None:
        """Put the mapping under ``section`` over the whole file: its values take the place of those they name."""
        found = self.root.get(section)
        if isinstance(found, CommentedMap):
            self._lay(found, self.root, (), (section,))

    def _lay(self, above: CommentedMap, below: CommentedMap, keys: Keys, source: Keys) -> None:
        for own, value in above.items():
            there, place = (*keys, str(own)), (*source, str(own))
            key = _find(below, str(own))
            if isinstance(value, CommentedMap) and key is not None and isinstance(below[key], CommentedMap):
                below[key] = copy.deepcopy(below[key])  # an alias (``*name``) elsewhere keeps its value
                self._lay(value, below[key], there, place)
            else:
                below[own if key is None else key] = copy.deepcopy(value)
                self._overlaid[there] = place

    def set_default(self, keys: Keys, value: Any) -> None:
        """Write a value that the user left out, without claiming a place for it."""
        node: Any = self.root
        for key in keys[:-1]:
            node = node[_find(node, key)]
        node[keys[-1]] = value

    def place(self, keys: Sequence[str]) -> str:
        """``file:line`` of the deepest of ``keys`` that the file has, or ``--set`` for an override."""
        if any(tuple(keys[:depth]) in self._overridden for depth in range(1, len(keys) + 1)):
            return OVERRIDE
        for depth in range(1, len(keys) + 1):
            if place := self._overlaid.get(tuple(keys[:depth])):
                return self.place((*place, *keys[depth:]))
        node: Any = self.root
        line = 0
        for key in keys:
            found = _find(node, key)
            if found is None:
                break
            line = _line(node, found, line)
            node = node[found]
        return f"{self.path}:{line + 1}"

    def plain(self) -> dict[str, Any]:
        """The data as JSON has it: text keys, no YAML types."""
        return _plain(self.root)

    def dump(self) -> str:
        """The file with all overrides applied, comments kept."""
        text = StringIO()
        YAML(typ="rt", pure=True).dump(self.root, text)
        return text.getvalue()


def load_document(path: Path, *, sets: Sequence[str] = ()) -> Document:
    """Read a YAML file and apply ``sets`` (each ``a.b=value``) in order.

    Raises:
        RecipeError: no such file, not UTF-8, not YAML, a key twice, or an override that does not fit.
    """
    try:
        root = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = f"paths start from {Path.cwd()}"
        raise RecipeError([Problem(str(path), "", "there is no such file", cure)]) from None
    except IsADirectoryError:
        raise RecipeError([Problem(str(path), "", "is a folder", "name the recipe file in it")]) from None
    except UnicodeDecodeError as error:
        raise RecipeError(
            [Problem(str(path), "", f"is not UTF-8 text ({error.reason})", "save it as UTF-8")]
        ) from None
    except YAMLError as error:
        raise RecipeError([_syntax_problem(path, error)]) from None
    if not isinstance(root, CommentedMap):
        problem = Problem(
            f"{path}:1", "", f"holds {describe(root)}", "a recipe is a mapping with the key 'stages'"
        )
        raise RecipeError([problem])
    document = Document(path, root)
    problems = [problem for assignment in sets if (problem := document.override(assignment))]
    if problems:
        raise RecipeError(problems)
    return document


def describe(value: object) -> str:
    """A value as a message shows it: ``the text 'abc'``, ``nothing``, ``a list``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= 60 else value[:57] + '…'}'"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, Sequence):
        return "a list" if value else "an empty list"
    return str(value)


def _syntax_problem(path: Path, error: YAMLError) -> Problem:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    if isinstance(error, DuplicateKeyError):
        return Problem(place, "", _reason(error).replace("found duplicate", "duplicate"), "keep one of them")
    return Problem(
        place, "", f"not YAML: {_reason(error)}", "check indentation, quotes and colons on this line"
    )


def _reason(error: YAMLError) -> str:
    text = error.problem if isinstance(error, MarkedYAMLError) else str(error)
    return (text or "unreadable").split("\n")[0].split(" with value")[0].split(" (original value")[0]


def _find(node: Any, key: str) -> Any:
    """The key of ``node`` that reads ``key``: YAML keys may be numbers, list items are counted. None if absent."""
    if isinstance(node, CommentedMap):
        return next((own for own in node if str(own) == key), None)
    if isinstance(node, CommentedSeq) and key.isdecimal() and int(key) < len(node):
        return int(key)
    return None


def _line(node: Any, key: Any, otherwise: int) -> int:
    """0-based line of ``key`` in ``node``; what a merge (``<<``) or an override brought has no line of its own."""
    try:
        return (node.lc.item if isinstance(node, CommentedSeq) else node.lc.key)(key)[0]
    except (KeyError, TypeError, AttributeError):
        return otherwise


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value.isoformat() if isinstance(value, date) else str(value)
