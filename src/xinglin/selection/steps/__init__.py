"""Steps of a selection: each drops candidates, or takes some of them. One file each.

A step ``NAME.py`` has

    Config     its settings, with ``name: Literal["NAME"]``: a ``StepConfig``, or ``TakeConfig`` for one that takes
    EMBEDS     True: it asks ``pool.embed()`` where records lie
    apply(config: Config, pool: Pool) -> None
               drops by ``pool.drop`` or takes by ``pool.room`` and ``pool.fill``; a pure function of both, ties
               decided by the order of the records

Scores are named by their titles in the recipe. What is taken is the union of what all steps took, so that each next one
adds to those before; if none takes, all that is not dropped is chosen.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xinglin.config.base import Config
from xinglin.selection.pool import Size

PACKAGE = "xinglin.selection.steps"

Keep = Annotated[float, Field(gt=0, lt=1)] | Annotated[int, Field(gt=0)]
"""A share below 1, or a number of records."""


class StepConfig(Config):
    """What every step has."""

    name: str
    """Which step: a file in ``selection/steps/``."""

    @property
    def titles(self) -> list[str]:
        """The scores that it reads."""
        score = getattr(self, "score", None)
        return [score] if isinstance(score, str) else list(score or [])


class TakeConfig(StepConfig):
    """What every step that takes has."""

    keep: Keep | None = None
    """How many are chosen after it, in all: a share of the records that scores decide on, or a number."""
    tokens: Annotated[int, Field(gt=0)] | None = None
    """The same in tokens."""

    @property
    def size(self) -> Size:
        return Size(self.keep, self.tokens)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.keep is None) == (self.tokens is None):
            raise ValueError(f"step {self.name} needs one of keep and tokens; give one")
        return self


class RankConfig(TakeConfig):
    """What every step has that takes by a score."""

    score: str | Annotated[list[str], Field(min_length=1)]
    """The title of the score; of several, the product of their ranks counts."""
    order: Literal["highest", "lowest"] = "highest"
    """Which end is best."""

    @property
    def lowest(self) -> bool:
        return self.order == "lowest"
