"""Drop: records whose score is too high or too low, by value or by share."""

from typing import Literal, Self

import numpy as np
from pydantic import model_validator

from xinglin.config.mixing import Share
from xinglin.selection.pool import Pool
from xinglin.selection.steps import StepConfig


class Config(StepConfig):
    """Take candidates out for good; protected records and those without that score stay."""

    name: Literal["drop"]
    """This step."""
    score: str
    """The title of the score."""
    above: float | None = None
    """Drop what is above it."""
    below: float | None = None
    """Drop what is below it."""
    highest: Share | None = None
    """Drop this share of the candidates, from the highest score on."""
    lowest: Share | None = None
    """Drop this share of the candidates, from the lowest score on."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.above is self.below is self.highest is self.lowest is None:
            raise ValueError("step drop says nothing; give above, below, highest or lowest")
        return self


def apply(config: Config, pool: Pool) -> None:
    values = pool.scores[config.score]

    def shown(index: int) -> str:
        return f"{config.score} {values[index]:.4g}"

    ranked = pool.ranking(config.score)
    if config.above is not None:
        bound = config.above
        pool.drop(values > bound, f"{config.score}_above", lambda index: f"{shown(index)}, above {bound:g}")
    if config.below is not None:
        floor = config.below
        pool.drop(values < floor, f"{config.score}_below", lambda index: f"{shown(index)}, below {floor:g}")
    for end, share in (("highest", config.highest), ("lowest", config.lowest)):
        if share is not None:
            number = round(share * len(ranked))
            which = np.zeros(len(values), np.bool_)
            which[ranked[:number] if end == "highest" else ranked[len(ranked) - number :]] = True
            pool.drop(
                which, f"{config.score}_{end}", lambda index, end=end: f"{shown(index)}, among the {end}"
            )
