"""The verbs of the command line as functions; heavy libraries are imported when one is called."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def score(
    path: str | Path,
    *,
    model: str | Path,
    out: str | Path | None = None,
    format: str | None = None,
    normalise: bool = False,
) -> dict[str, Any]:
    """Score the answers in a file with a reward model.

    Args:
        path: conversations, whose last answer is scored, or preferences, in any format that a data stage reads.
        model: a reward stage's folder, a run with one, a sequence classifier with one label, or a ``hub:`` id.
        out: a JSON Lines file for the rows, each with its ``score``.
        format: of the rows. Default: recognised row by row.
        normalise: subtract the mean and divide by the standard deviation of the scores on training data.

    Returns:
        Counts, mean, standard deviation, quantiles, and for preferences how well they are told apart.

    Raises:
        DataError: nothing there that can be scored.
        ModelError: no reward model there.
        RunError: ``out`` cannot be written.
    """
    from xinglin.evaluate import scoring

    with scoring.json_lines(Path(out)) if out else nullcontext(lambda row: None) as write:
        return scoring.score(str(path), model=model, write=write, format=format, normalise=normalise)


def check(
    *paths: str | Path,
    against: Sequence[str | Path] = (),
    tokenizer: str | Path | None = None,
    template: str | None = None,
    max_tokens: int = 2048,
    quarantine: str | Path | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """What is in the files at ``paths``: rows by reason, languages, lengths, copies, leaks, personal data.

    Args:
        paths: files, folders, globs or ``hub:`` names, in any format that a data stage reads.
        against: benchmarks whose items must not be in the data; exams among ``paths`` count, too.
        tokenizer: a model's folder or ``hub:`` id. Default: one trained on the files.
        template: a packaged chat template. Default: the tokenizer's own, or ``chatml``.
        max_tokens: records longer than this are counted.
        quarantine: a file for the rows that cannot be used, with reasons.
        processes: that look through the records; with more than one, call it under ``if __name__ == "__main__":``.

    Returns:
        ``files``, ``duplicates``, ``leaks`` and ``tokenizer``, as ``xinglin data check --json`` prints them.

    Raises:
        DataError: a path with no file in it that holds a row to use.
        ModelError: no tokenizer there.
    """
    from xinglin.data.checking import Asked, check
    from xinglin.data.rendering import Renderer
    from xinglin.data.templates import load_template
    from xinglin.models.tokenizer import load_tokenizer, train_tokenizer

    def renderer(texts: Iterator[str]) -> Renderer:
        if tokenizer:
            return Renderer(load_tokenizer(str(tokenizer).removeprefix("hub:")), template=template)
        made = train_tokenizer(texts, vocabulary=8192)
        made.chat_template = load_template("chatml")
        return Renderer(made, template=template)

    asked = Asked(
        [str(path) for path in paths],
        [str(path) for path in against],
        Path(quarantine) if quarantine else None,
        max_tokens,
        processes,
    )
    report = check(asked, renderer)
    return report | {"tokenizer": str(tokenizer) if tokenizer else None}
