"""Perplexity: of the answers after their questions, or of a document."""

import math
from typing import Literal

from xinglin.selection.scores import Context, ReaderConfig, Score, Turn, by_turns

RECORDS = ("conversation", "document")


class Config(ReaderConfig):
    """exp of the mean loss per token. A band of it, by step ``drop``, leaves out the trivial and the garbled."""

    name: Literal["perplexity"]
    """This score."""


def open(config: Config, context: Context) -> Score:
    return by_turns(config, context, perplexity)


def perplexity(turn: Turn) -> float:
    return math.exp(turn.loss / turn.tokens)
