"""Necessity: the loss of the given answer under a model, which needs to learn what it finds unlikely."""

from typing import Literal

from xinglin.selection.scores import Context, ReaderConfig, Score, Turn, by_turns

RECORDS = ("conversation",)


class Config(ReaderConfig):
    """Mean negative log-likelihood of the answers per token, in nats: what MoDS (arXiv 2311.15653) finds out by
    generating and rating answers. The highest 1 to 2 % are noise; drop them first."""

    name: Literal["necessity"]
    """This score."""


def open(config: Config, context: Context) -> Score:
    return by_turns(config, context, loss_per_token)


def loss_per_token(turn: Turn) -> float:
    return turn.loss / turn.tokens
