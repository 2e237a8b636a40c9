"""IFD: how little a question helps with its answer (arXiv 2308.12032): loss with it over loss without it."""

from typing import Literal

from xinglin.selection.scores import Context, ReaderConfig, Score, Turn, by_turns

RECORDS = ("conversation",)
LEAST_LOSS = 1e-6
"""Of an answer that a model knows by heart; keeps the ratio finite."""


class Config(ReaderConfig):
    """Instruction-following difficulty. Near 0: the question says it all. Above 1: the question makes the answer less
    likely, so that they do not belong together."""

    name: Literal["ifd"]
    """This score."""


def open(config: Config, context: Context) -> Score:
    return by_turns(config, context, ratio, alone=True)


def ratio(turn: Turn) -> float:
    """Mean loss per token with the question, divided by that without it; the tokens are the same."""
    assert turn.alone is not None
    return turn.loss / max(turn.alone, LEAST_LOSS)
