"""Superfilter: IFD as a ratio of perplexities, from a small model (Superfiltering, arXiv 2402.00530)."""

import math
from typing import Literal

from xinglin.selection.scores import Context, ReaderConfig, Score, Turn, by_turns

RECORDS = ("conversation",)


class Config(ReaderConfig):
    """Perplexity of the answers with their questions over that without. A small model that knows the language ranks as
    a large one does; name one under ``model``."""

    name: Literal["superfilter"]
    """This score."""


def open(config: Config, context: Context) -> Score:
    return by_turns(config, context, ratio, alone=True)


def ratio(turn: Turn) -> float:
    assert turn.alone is not None
    return math.exp((turn.loss - turn.alone) / turn.tokens)
