"""The verbs of the command line as functions; heavy libraries are imported when one is called."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xinglin.pipeline import Run
    from xinglin.serve.model import Model


def run(
    recipe: str | Path,
    *,
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    only: str | None = None,
    start_from: str | None = None,
) -> "Run":
    """Run a recipe; see ``xinglin.pipeline.run``."""
    from xinglin import pipeline

    return pipeline.run(recipe, sets=sets, out=out, only=only, start_from=start_from)


def load(path: str | Path) -> "Model":
    """A model to ``chat`` with or to ``predict`` with, from a run, a stage's folder, a model folder or ``hub:`` id.

    Raises:
        ModelError: nothing loadable there.
        RunError: the run has no finished model yet.
    """
    from xinglin.serve.model import Model

    return Model.load(path)
