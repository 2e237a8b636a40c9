"""Prompts: YAML files of jinja in Chinese and English, known by name and hash."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, TemplateError

from xinglin.errors import DataError
from xinglin.plugins import nearest

LANGUAGES = ("zh", "en")
EVERYWHERE = "repair"
"""The file of prompts that all tasks share."""
_JINJA = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


class Rendered(NamedTuple):
    text: str
    id: str
    """``task/prompt.language@hash``: of the wording, not of what was filled in."""


class Wording:
    """The prompts of a task, with those of the user's file in place of packaged ones.

    Raises:
        DataError: the file cannot be read, or names what the task does not have.
    """

    def __init__(self, task: str, own: str | None = None):
        self.task = task
        self._prompts = {**_packaged(EVERYWHERE), **_packaged(task)}
        if own:
            self._prompts = self._prompts | _own(Path(own), self._prompts)

    def render(self, name: str, *, chinese: bool, **values: Any) -> Rendered:
        """Raises: DataError, a prompt of the user's asks for what the task does not give."""
        language = LANGUAGES[0] if chinese else LANGUAGES[1]
        source = self._prompts[name][language]
        digest = hashlib.sha256(source.encode()).hexdigest()[:8]
        place = f"{self.task}/{name}.{language}"
        try:
            return Rendered(_JINJA.from_string(source).render(**values).strip(), f"{place}@{digest}")
        except TemplateError as error:
            raise DataError(
                f"prompt {place}: {error.message}; the values are {', '.join(sorted(values))}"
            ) from error


def load_yaml(path: Path) -> Any:
    """Raises: DataError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}); write UTF-8 YAML") from error


def packaged(name: str) -> Any:
    """A YAML file that comes with this package."""
    return load_yaml(Path(str(files("xinglin.synthesis").joinpath(name))))


@cache
def _packaged(name: str) -> Mapping[str, Mapping[str, str]]:
    return packaged(f"prompts/{name}.yaml")


def _own(path: Path, known: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found = load_yaml(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: is no mapping; write name: {{zh: …, en: …}}")
    for name, wording in found.items():
        if name not in known:
            raise DataError(f"{path}: no prompt '{name}'; {nearest(str(name), list(known))}")
        if not isinstance(wording, dict) or not all(isinstance(text, str) for text in wording.values()):
            raise DataError(f"{path}: {name} is no mapping of languages to text; write {{zh: …, en: …}}")
        if unknown := sorted(set(wording) - set(LANGUAGES)):
            raise DataError(
                f"{path}: {name}: no language '{unknown[0]}'; {nearest(str(unknown[0]), LANGUAGES)}"
            )
    return {name: {**known[name], **wording} for name, wording in found.items()}
