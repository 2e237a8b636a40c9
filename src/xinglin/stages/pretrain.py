"""Continued pretraining: predict every token of documents, of any size, with other splits mixed in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.base import AnySplit, TrainingSplit
from xinglin.config.base import Config as BaseConfig
from xinglin.config.parts import Positive, TrainingConfig
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import DISTRIBUTED, PRODUCES, check, plan, produces, require_records, sources

if TYPE_CHECKING:
    from xinglin.train.corpus import Reading

__all__ = [
    "DISTRIBUTED",
    "PRODUCES",
    "Config",
    "check",
    "check_records",
    "plan",
    "produces",
    "run",
    "sources",
]


class Replay(BaseConfig):
    """A split that is mixed in, as often as its share asks for."""

    split: TrainingSplit
    """Documents, or conversations, which are rendered with the chat template."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Its share of all tokens of the stage."""
    train: Literal["all", "answers"] = "all"
    """Which tokens of conversations the loss counts; of documents it counts all."""


class Config(TrainingConfig):
    """Train on a split of documents, and on what is mixed in."""

    eval_split: AnySplit | list[AnySplit] | None = None  # type: ignore[assignment]
    """Splits whose loss and perplexity are watched, e.g. ``[domain_dev, general_dev]``; the first one decides what
    ``keep_best`` keeps."""
    mix: list[Replay] = Field(default=[])
    """Splits that are mixed in, e.g. ``[{split: general, share: 0.2}]`` against forgetting. ``split`` has the share
    that is left, and ``epochs`` counts its passes."""
    documents: Literal["isolated", "contiguous"] = "isolated"
    """``isolated``: no document sees another. ``contiguous``: documents are joined, an eos token after each, and cut
    into blocks of ``max_tokens``, within which attention is causal and documents do see those before them."""
    stream: bool | None = None
    """Tokenise splits in parts while training goes on. Default: those whose file is larger than 256 MiB."""
    part_bytes: Positive = 64 << 20
    """Bytes of text in a part, with ``stream``."""
    shuffle_parts: Positive = 8
    """Parts whose sequences are shuffled together. Parts themselves come in shuffled order too."""

    @property
    def eval_splits(self) -> list[str]:
        """The splits that are watched; the first one decides which step is the best."""
        return [self.eval_split] if isinstance(self.eval_split, str) else self.eval_split or []

    @model_validator(mode="after")
    def _mix_fits(self) -> "Config":
        names = [self.split, *(replay.split for replay in self.mix)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"mix: split '{name}' is read twice; name each split once")
            if name in self.eval_splits:
                raise ValueError(f"eval_split '{name}' is trained on; evaluate on rows that are not")
        if sum(replay.share for replay in self.mix) >= 1:
            raise ValueError(
                f"mix: the shares leave nothing for '{self.split}'; they must add up to less than 1"
            )
        if self.documents == "contiguous" and self.over_length != "split":
            raise ValueError(
                "over_length means nothing for contiguous documents, which are all cut; leave it out"
            )
        return self


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that hold no text to read."""
    splits = [config.split, *(replay.split for replay in config.mix), *config.eval_splits]
    require_records(
        splits, records, ("document", "conversation"), cure="name a split of documents, or of conversations"
    )


def run(config: Config, run: StageRun) -> Outcome:
    """Documents in, a model that has read them out."""
    from xinglin.train.corpus import open_corpus
    from xinglin.train.fit import train
    from xinglin.train.session import open_session

    session = open_session(config, run)
    contiguous = config.documents == "contiguous"
    readings = _readings(config, run.artifact(config.data or ""))
    with open_corpus(session, readings, contiguous=contiguous, window_parts=config.shuffle_parts) as corpus:
        outcome = train(session, corpus.batches)
        facts = outcome.details["train"]
        ended = not facts["stopped_early"] and facts["steps"] != config.max_steps
        reading = corpus.report(facts["steps"], ended=ended)
    return replace(outcome, details={**outcome.details, "reading": reading})


def _readings(config: Config, data: Artifact) -> "list[Reading]":
    """The stage's own split and those that are mixed in."""
    from xinglin.data.splits import split_file
    from xinglin.data.stream import STREAM_BYTES
    from xinglin.train.corpus import Reading

    def part_bytes(split: str) -> int | None:
        large = split_file(data, split).stat().st_size > STREAM_BYTES
        return config.part_bytes if (large if config.stream is None else config.stream) else None

    own = Reading(
        config.split, 1 - sum(replay.share for replay in config.mix), part_bytes=part_bytes(config.split)
    )
    mixed = [
        Reading(replay.split, replay.share, replay.train == "all", part_bytes(replay.split))
        for replay in config.mix
    ]
    return [own, *mixed]
