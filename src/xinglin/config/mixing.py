"""Settings of the stages that read several splits together."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.base import AnySplit, Config, TrainingSplit
from xinglin.config.parts import Above, TrainingConfig

Share = Annotated[float, Field(gt=0, lt=1)]


class Mixed(Config):
    """A split that is mixed in: in a share of the tokens, or by priority."""

    split: TrainingSplit
    """Documents, or conversations, which are rendered with the chat template."""
    share: Share | None = None
    """Its share of all tokens of the stage."""
    priority: Above | None = None
    """Instead of a share: how much earlier than others its rows come. All splits have one then."""
    max_epochs: Above | None = None
    """Read it at most so often; what is left of its share goes to the others then. Default: as often as its share asks
    for; with a priority, once."""
    train: Literal["all", "answers"] | None = None
    """Which tokens of conversations the loss counts; of documents it counts all. Default: ``all`` in pretraining,
    ``answers`` in SFT."""


class MixingConfig(TrainingConfig):
    """What the stages have that read several splits together."""

    eval_split: AnySplit | list[AnySplit] | None = None  # type: ignore[assignment]
    """Splits whose loss is watched, e.g. ``[domain_dev, general_dev]``; the first one decides what ``keep_best``
    keeps."""
    mix: list[Mixed] = Field(default=[])
    """Splits that are mixed in, e.g. ``[{split: general, share: 0.2}]`` against forgetting. ``split`` has the share
    that is left, and ``epochs`` counts its passes."""
    priority: Above | None = None
    """With a priority for every split in ``mix``: each is read to its end, and the next row is of a split with
    probability priority x rows that it has left, so that splits of high priority come early (HuatuoGPT-II, arXiv
    2311.09774: 32 for web text down to 1 for instructions)."""

    @property
    def eval_splits(self) -> list[str]:
        """The splits that are watched; the first one decides which step is the best."""
        return [self.eval_split] if isinstance(self.eval_split, str) else self.eval_split or []

    @property
    def own_share(self) -> float:
        """Of ``split``, of all tokens."""
        return 1 - sum(mixed.share or 0 for mixed in self.mix)

    @model_validator(mode="after")
    def _mix_fits(self) -> "MixingConfig":
        names = [self.split, *(mixed.split for mixed in self.mix)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"mix: split '{name}' is read twice; name each split once")
            if name in self.eval_splits:
                raise ValueError(f"eval_split '{name}' is trained on; evaluate on rows that are not")
        if self.priority and not self.mix:
            raise ValueError("priority orders several splits, and mix names none; add some or leave it out")
        key, other = ("share", "priority") if self.priority is None else ("priority", "share")
        for mixed in self.mix:
            if getattr(mixed, other) is not None or getattr(mixed, key) is None:
                raise ValueError(
                    f"mix: split '{mixed.split}' needs a {key} and no {other}, since '{self.split}' has "
                    f"{'no' if self.priority is None else 'a'} priority; all splits have one, or none"
                )
        if self.own_share <= 0:
            raise ValueError(
                f"mix: the shares leave nothing for '{self.split}'; they must add up to less than 1"
            )
        return self
