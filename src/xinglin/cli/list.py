"""``xinglin list``: what there is to write into a recipe."""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xinglin import plugins
from xinglin.errors import PluginError

if TYPE_CHECKING:
    from xinglin.config.describe import Setting

PACKAGES = {
    "stages": "xinglin.stages",
    "formats": "xinglin.data.formats",
    "filters": "xinglin.data.filters",
    "benchmarks": "xinglin.evaluate.benchmarks",
    "objectives": "xinglin.train.objectives",
    "rewards": "xinglin.rewards",
    "scores": "xinglin.selection.scores",
    "steps": "xinglin.selection.steps",
    "embeddings": "xinglin.selection.embeddings",
    "synthesis": "xinglin.synthesis.tasks",
}

_MODELS = {"formats": "Options", "filters": "Settings"}
"""What the class of a plugin's settings is called, where it is not ``Config``."""


@click.command("list")
@click.argument("kind", required=False)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(kind: str | None, name: str | None, as_json: bool) -> None:
    """List what a recipe can use: KIND is stages, formats, filters, benchmarks, objectives,
    rewards, scores, steps, embeddings, synthesis, templates or samples.

    With a NAME, print its settings with types, defaults and meaning.

    \b
    Examples:
      xinglin list
      xinglin list stages
      xinglin list stages sft
    """
    from xinglin.runtime.logging import console

    if kind is not None and kind not in _KINDS:
        raise PluginError(f"unknown kind '{kind}'; {plugins.nearest(kind, list(_KINDS))}")
    if kind is not None and name is not None:
        rows: Any = [asdict(setting) for setting in _settings(kind, name)]
        tables = {f"{kind} {name}": {row["key"]: row for row in rows}}
    else:
        rows = {each: listing() for each, listing in _KINDS.items() if kind in (None, each)}
        tables = {
            each: {key: {"name": key, "": text} for key, text in found.items()}
            for each, found in rows.items()
        }
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for title, found in tables.items():
        console().print(_table(title, list(found.values())))


def _table(title: str, rows: list[dict[str, str]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in rows[0] if rows else ():
        table.add_column(column, no_wrap=column in ("name", "key"))
    for row in rows:
        table.add_row(*(Text(text.replace("``", "")) for text in row.values()))
    return table


def _settings(kind: str, name: str) -> list["Setting"]:
    """The settings of a plugin; none where it has no options."""
    from xinglin.config.describe import settings

    if kind not in PACKAGES:
        raise PluginError(f"{kind} have no settings; `xinglin list {kind}` lists their names")
    module = plugins.load(PACKAGES[kind], name)
    model = getattr(module, _MODELS.get(kind, "Config"), None)
    return list(settings(model)) if model is not None else []


def _plugins(package: str) -> Callable[[], dict[str, str]]:
    return lambda: {name: plugins.summary(package, name) for name in plugins.names(package)}


def _templates() -> dict[str, str]:
    """The first comment of each packaged template."""
    import xinglin.data

    folder = Path(str(xinglin.data.__file__)).parent / "templates"
    found = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}
    comments = {name: re.match(r"\{#-?\s*(.*?)\s*-?#\}", text, re.DOTALL) for name, text in found.items()}
    return {name: " ".join(comment[1].split()) if comment else "" for name, comment in comments.items()}


def _samples() -> dict[str, str]:
    samples = importlib.import_module("xinglin.data.samples")
    return {name: (getattr(samples, name).__doc__ or "").split("\n")[0] for name in samples.names()}


_KINDS: dict[str, Callable[[], dict[str, str]]] = {
    **{kind: _plugins(package) for kind, package in PACKAGES.items()},
    "templates": _templates,
    "samples": _samples,
}
