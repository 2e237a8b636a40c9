"""The base of every config: strict, frozen, and documented field by field."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Unknown keys and wrong types are errors; the string under a field is its documentation.

    A key that is a word of Python, such as ``continue``, is the alias of a field ``continue_``.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


@dataclass(frozen=True)
class Input:
    """Marks a config field as an input of a stage and names the artifact kinds that it takes."""

    kinds: tuple[str, ...]
    by_default: tuple[str, ...] = ()
    """Of the nearest earlier stage that an input left out stands for; (): any of ``kinds``."""


DataInput = Annotated[str | None, Input(("dataset",))]
"""``stage:NAME`` of a data stage, or the folder of a data set artifact. None: the nearest earlier data stage."""

ModelInput = Annotated[str | None, Input(("model", "adapter"))]
"""``stage:NAME``, ``base`` (the recipe's model), a local folder, ``hub:org/name`` or ``tiny:architecture``.
None: the nearest earlier stage that makes a model, else ``base``."""


RewardInput = Annotated[str | None, Input(("reward_model",))]
"""``stage:NAME`` of a reward stage, a local folder, or ``hub:org/name``. None: the nearest earlier reward stage."""

MergeInput = Annotated[str | None, Input(("model", "adapter", "reward_model"), ("model", "adapter"))]
"""As ``ModelInput``, or a reward model where one is named."""


@dataclass(frozen=True)
class SplitName:
    """Marks a config field that names a split of the stage's ``data``, or several."""

    trained: bool
    """Whether the stage learns from it, so that it must not be held out."""


TrainingSplit = Annotated[str, SplitName(trained=True)]
AnySplit = Annotated[str, SplitName(trained=False)]


class StageConfig(Config):
    """What every stage has. A stage's file is named after its kind."""

    kind: str
    """Which stage this is: a file in ``stages/``."""
