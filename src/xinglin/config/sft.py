"""The parts of SFT's settings."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config, TrainingSplit
from xinglin.config.parts import Fraction, Positive


class Curriculum(Config):
    """Train on what is easy first."""

    by: Annotated[str, Field(min_length=1)]
    """What makes a sequence hard: ``length`` (trained tokens), ``loss`` (per trained token, under the model that the
    stage starts from), ``ifd`` (how little the question helps: that loss over the loss of the answer without its
    question, arXiv 2308.12032), or a key of ``meta`` that holds a number, such as ``difficulty``."""
    buckets: Annotated[int, Field(ge=2)] = 3
    """Phases, from easy to hard, with about as many sequences each."""
    replay: Fraction = 0.1
    """Each phase trains on this share of every earlier one again, so that what was learned there is kept."""


class Regulariser(Config):
    """Text whose loss is lowered beside that of the answers, so that the model stays fluent."""

    split: TrainingSplit
    """A split of documents."""
    weight: Annotated[float, Field(gt=0)] = 0.01
    """What the loss per token of the text is multiplied by."""
    batch_size: Positive = 8
    """Sequences of text per optimizer step, over all processes."""
