"""Name -> module, by listing files: a stage, format, benchmark or objective is one file in its package."""

import ast
import difflib
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from xinglin.errors import PluginError


@cache
def names(package: str) -> tuple[str, ...]:
    """The plugins of ``package`` (e.g. ``"xinglin.stages"``), sorted, without importing any."""
    return tuple(sorted(path.stem for path in _folder(package).glob("*.py") if not path.stem.startswith("_")))


def load(package: str, name: str) -> ModuleType:
    """The module ``package.name``.

    Raises:
        PluginError: no such plugin; the message names the nearest one.
    """
    if name not in names(package):
        kind = package.rsplit(".", 1)[-1].removesuffix("s")
        raise PluginError(f"unknown {kind} '{name}'; {nearest(name, names(package))}")
    return importlib.import_module(f"{package}.{name}")


def summary(package: str, name: str) -> str:
    """First line of the plugin's docstring, read without importing it."""
    source = (_folder(package) / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """``"did you mean 'x'?"`` when one of ``known`` is close, else the whole list."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))
