"""Continued pretraining: predict every token of documents, of any size, with other splits mixed in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from xinglin.config.conversation import CHAT_STAGES, chat_sign
from xinglin.config.mixing import MixingConfig
from xinglin.config.parts import Positive
from xinglin.config.recipe import Descent
from xinglin.config.tiny import is_tiny
from xinglin.errors import TrainingError
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
    "check_start",
    "plan",
    "produces",
    "run",
    "sources",
]


class Config(MixingConfig):
    """Train on a split of documents, and on what is mixed in."""

    replay: Literal["needed", "none"] = "needed"
    """Whether a chat model needs something in ``mix``. ``none``: it may forget how to converse."""
    documents: Literal["isolated", "contiguous"] = "isolated"
    """``isolated``: no document sees another. ``contiguous``: documents are joined, an eos token after each, and cut
    into blocks of ``max_tokens``, within which attention is causal and documents do see those before them."""
    stream: bool | None = None
    """Tokenise splits in parts while training goes on. Default: those whose file is larger than 256 MiB."""
    part_bytes: Positive = 64 << 20
    """Bytes of text in a part, with ``stream``."""
    shuffle_parts: Positive = 8
    """Parts whose sequences are shuffled together. Parts themselves come in shuffled order too."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Config":
        if self.priority and self.stream:
            raise ValueError("priority orders splits that are tokenised whole; leave stream out")
        if self.documents == "contiguous" and self.over_length != "split":
            raise ValueError(
                "over_length means nothing for contiguous documents, which are all cut; leave it out"
            )
        return self


def check_start(config: Config, descent: Descent) -> None:
    """Refuse to make a chat model forget its conversations by accident."""
    if is_tiny(descent.root) or config.mix or config.replay == "none":
        return
    stage = next((kind for kind in descent.kinds if kind in CHAT_STAGES), None)
    sign = f"{stage} trained it" if stage else chat_sign(descent.root)
    if sign:
        raise TrainingError(
            f"{descent.root} is a chat model ({sign}), and documents alone make it forget how to converse; mix in "
            "general text and conversations, at least as many tokens of them (mix: [{split: general, share: 0.5}]), "
            "or write replay: none"
        )


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that hold no text to read."""
    splits = [config.split, *(mixed.split for mixed in config.mix), *config.eval_splits]
    require_records(
        splits, records, ("document", "conversation"), cure="name a split of documents, or of conversations"
    )


def run(config: Config, run: StageRun) -> Outcome:
    """Documents in, a model that has read them out."""
    from xinglin.train.corpus import open_corpus
    from xinglin.train.fit import train
    from xinglin.train.session import open_session

    session = open_session(config, run)
    if isinstance(start := run.inputs[config.model or "base"], str):
        check_start(config, Descent(start))  # of a model that was not downloaded, only its name was known
    contiguous = config.documents == "contiguous"
    with open_corpus(
        session, _readings(config, run), contiguous=contiguous, window_parts=config.shuffle_parts
    ) as corpus:
        outcome = train(session, corpus.batches)
        reading = corpus.conclude(outcome)
    return replace(outcome, details={**outcome.details, "reading": reading})


def _readings(config: Config, run: StageRun) -> "list[Reading]":
    """The stage's own split and those that are mixed in, large ones in parts."""
    from xinglin.data.splits import split_file
    from xinglin.data.stream import STREAM_BYTES
    from xinglin.train.corpus import read_together

    data = run.artifact(config.data or "")

    def in_parts(reading: "Reading") -> "Reading":
        large = split_file(data, reading.split).stat().st_size > STREAM_BYTES and not config.priority
        parted = large if config.stream is None else config.stream
        return replace(reading, part_bytes=config.part_bytes if parted else None)

    return [in_parts(reading) for reading in read_together(config, train_all=True)]
