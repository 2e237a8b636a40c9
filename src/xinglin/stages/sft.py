"""Supervised fine-tuning: predict the trained messages of conversations."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.mixing import MixingConfig
from xinglin.config.sft import Curriculum, Regulariser
from xinglin.errors import DataError
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import DISTRIBUTED, PRODUCES, check, plan, produces, require_records, sources

if TYPE_CHECKING:
    from xinglin.data.hindsight import Reading
    from xinglin.train.corpus import Corpus
    from xinglin.train.session import Session

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


class Config(MixingConfig):
    """Train on a split of conversations, and on what is mixed in; each message counts as its ``train`` flag or its
    ``weight`` says."""

    reasoning: Literal["auto", "keep", "drop"] | None = None
    """Answers with reasoning (``<think>``): ``auto`` trains them behind the prompt that asks a model to think, and
    answers without behind the other; ``keep`` trains all behind the first, so that those without begin with an empty
    block, and the model is always asked to think; ``drop`` leaves the reasoning out.
    Default: what the model was trained with before, else ``auto``."""
    answers: Literal["together", "apart"] = "together"
    """Whether a conversation is one sequence. ``apart`` matters for templates that show an answer otherwise once
    another follows it, as Qwen3's does with reasoning and its empty block: each answer then ends a sequence of its
    own and is trained behind exactly the prompt that asks for it, for more tokens. Others stay together."""
    preferences: Literal["chosen", "hindsight"] | None = None
    """For a split of preferences: train on the chosen answers, each once (HFFT); or on both, asked for by quality
    (Chain of Hindsight, arXiv 2302.02676)."""
    curriculum: Curriculum | None = None
    """Train on what is easy first. Default: all in one shuffled order."""
    regulariser: Regulariser | None = None
    """Text whose loss is lowered beside that of the answers, e.g. ``{split: corpus, weight: 0.01}``."""
    forgetting: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Hide up to this share of the past tokens at random while training (forgetful causal masking, arXiv 2210.13432),
    so that Chain of Hindsight learns to answer instead of copying the answer before. 0.15 is usual. Slower."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.mix and self.curriculum:
            raise ValueError("curriculum orders one split, and mix names others; leave one of them out")
        if self.forgetting and not self.packing:
            raise ValueError(
                "forgetting needs packing: true, since it changes the attention; leave one of them out"
            )
        return self


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse what the splits' kinds of record rule out."""
    trained = ("preference",) if config.preferences else ("conversation", "document")
    cure = (
        f"preferences: {config.preferences} needs preferences, so name a split of them or leave the key out"
    )
    if not config.preferences:
        cure = "name a split of conversations"
        if records.get(config.split) == "preference":
            cure = (
                "set preferences: chosen to train on the accepted answers, or preferences: hindsight to learn from "
                f"both, or {cure}"
            )
    require_records([config.split], records, trained, cure=cure)
    others = [*(mixed.split for mixed in config.mix), *config.eval_splits]
    readable = (*trained, "conversation", "document")
    require_records(others, records, readable, cure="name one of conversations, or set preferences too")
    if config.regulariser:
        split = config.regulariser.split
        require_records(
            [split], records, ("document",), cure="regulariser.split needs documents; name a split of them"
        )


def run(config: Config, run: StageRun) -> Outcome:
    """Conversations in, a model that answers out."""
    from xinglin.models.forgetting import Forgetting
    from xinglin.train.fit import train
    from xinglin.train.session import open_session
    from xinglin.train.supervised import Supervised

    _check_splits(config, run)
    reading = config.preferences or "pairs"
    session = open_session(config, run, reasoning=config.reasoning)
    if config.forgetting:
        Forgetting(session.model, most=config.forgetting)
    with ExitStack() as stack:
        corpus = stack.enter_context(_open_corpus(config, session, reading)) if config.mix else None
        batches = Supervised(
            reading, config.answers == "apart", config.curriculum, config.regulariser, corpus
        )
        outcome = train(session, batches)
        best = outcome.details["train"]["best_step"] if config.keep_best else None
        facts = batches.conclude(run.out / "metrics.jsonl", outcome, best_step=best)
    return replace(outcome, details={**outcome.details, **facts})


def _open_corpus(
    config: Config, session: "Session", preferences: "Reading"
) -> "AbstractContextManager[Corpus]":
    """The split and what is mixed in, read as the stage reads its own."""
    from xinglin.train.corpus import open_corpus, read_together

    readings = [
        replace(each, preferences=preferences, apart=config.answers == "apart")
        for each in read_together(config, train_all=False)
    ]
    return open_corpus(session, readings, contiguous=False, window_parts=1)


def _check_splits(config: Config, run: StageRun) -> None:
    """Refuse splits that cannot be used, before the model is loaded.

    Raises:
        DataError: names the split and the cure.
    """
    from xinglin.data.splits import split_file

    data = run.artifact(config.data or "")
    splits = data.details["splits"]
    check_records(config, {name: split["record"] for name, split in splits.items()})
    if config.regulariser:
        split_file(data, config.regulariser.split)
        if splits[config.regulariser.split]["held_out"]:
            raise DataError(
                f"regulariser.split '{config.regulariser.split}' is held out for evaluation; name one that is not"
            )
