"""The splits that a pretraining stage reads, mixed, and what was read of each in the end."""

import math
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xinglin.data.mixture import SOURCE_BITS, Course, Mixture, Pace, split_number
from xinglin.data.packing import Packed, pack_sequences
from xinglin.data.splits import Tokenising, require_trained, split_file
from xinglin.data.stream import Parts
from xinglin.errors import DataError, TrainingError
from xinglin.runtime.artifact import sha256
from xinglin.train.batches import Batches, Ints, shard_batches
from xinglin.train.forecast import DEFAULT_BATCH
from xinglin.train.lints import heed, lint_splits
from xinglin.train.objectives.language_modeling import Objective, Sources
from xinglin.train.session import Session


@dataclass(frozen=True)
class Reading:
    """A split, and how it is read."""

    split: str
    share: float
    """Of all tokens."""
    train_all: bool = False
    """Train every token of conversations, not only the answers."""
    part_bytes: int | None = None
    """Tokenise it in parts of this size while training goes on; None: whole, before."""


@dataclass(frozen=True)
class Corpus:
    """Splits in fixed shares of the tokens."""

    readings: Sequence[Reading]
    mixture: Mixture

    def batches(self, session: Session, split: str, *, training: bool) -> Batches:
        """The mixture for training; for an evaluation a split once through, with its perplexity."""
        if training:
            return Batches(self.mixture, self.pack, self._objective(), self.source)
        held = session.shards(split)
        if len(self.mixture.courses[0].parts) == 1:
            heed(lint_splits(session.config, self.mixture.courses[0].parts[0], held, split=split))
        steps = session.plan(held, training=False)
        batches = shard_batches(held, steps, Objective.of(held), split=split)
        return replace(batches, describe=with_perplexity)

    def _objective(self) -> Objective:
        """Every trained token by its weight, and, of several splits, the loss of each."""
        names = [reading.split for reading in self.readings]
        of_splits = Sources(names, cast(Any, _SplitOf())) if len(names) > 1 else None
        return Objective(cast(Any, _SumsOf(self.mixture)), of_splits)

    def pack(self, indices: Ints) -> Packed:
        return pack_sequences([shards[at] for shards, at in map(self.mixture.shards, indices.tolist())])

    def source(self, indices: Ints) -> str:
        """``lines 3, 8 of split 'train'`` for the sequences of a micro-batch."""
        lines: dict[str, set[int]] = {}
        for number in indices.tolist():
            course, part, at = split_number(number)
            parts = self.mixture.courses[course].parts
            line = parts.lines_before(part) + int(parts[part].rows[at]) + 1
            lines.setdefault(self.readings[course].split, set()).add(line)
        return " and ".join(
            f"lines {_few(sorted(found))} of split '{split}'" for split, found in lines.items()
        )

    def report(self, steps: int, *, ended: bool) -> dict[str, Any]:
        """What the first ``steps`` steps read of each split, and how many steps the schedule was laid out for.

        ``ended``: the steps ended with the text, and not before.
        """
        taken = self.mixture.taken(steps)
        total = sum(each.tokens for each in taken)
        planned = len(self.mixture)
        if ended and steps != planned:
            print(f"the text made {steps:,} steps; the learning rate was laid out for {planned:,}")
        splits = {
            reading.split: {
                "share": round(each.tokens / max(1, total), 5),
                "share_wanted": round(reading.share, 5),
                "tokens": each.tokens,
                "sequences": each.sequences,
                "epochs": round(each.epochs, 4),
            }
            for reading, each in zip(self.readings, taken, strict=True)
        }
        return {"planned_steps": planned, "splits": splits}


class _SplitOf:
    """Indexed by sequence numbers as an array would be: the split of each."""

    def __getitem__(self, numbers: Tensor) -> Tensor:
        return numbers >> SOURCE_BITS


class _SumsOf:
    """Indexed by sequence numbers as an array would be: the summed weights of each."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture

    def __getitem__(self, numbers: Ints) -> npt.NDArray[np.float64]:
        return np.array([shards.sums[at] for shards, at in map(self.mixture.shards, numbers.tolist())])


@contextmanager
def open_corpus(
    session: Session, readings: Sequence[Reading], *, contiguous: bool, window_parts: int
) -> Generator[Corpus]:
    """Tokenise what is needed first, and the rest in the background for as long as the context lasts.

    Raises:
        DataError: a split is held out, or its first part holds nothing to train on.
        TrainingError: a split holds preferences or questions, or sequences longer than the model's window.
    """
    config = session.config
    pace = Pace(
        micro_batch_tokens=config.micro_batch_tokens if config.packing else 1,
        batch_size=None if config.batch_tokens else (config.batch_size or DEFAULT_BATCH),
        batch_tokens=config.batch_tokens,
        epochs=config.epochs,
        max_steps=config.max_steps,
        processes=session.accelerator.num_processes,
    )
    with ExitStack() as stack:
        courses = []
        for number, reading in enumerate(readings):
            parts = stack.enter_context(_parts(session, reading, contiguous=contiguous))
            course = Course(parts, number=number, seed=session.run.seed, window_parts=window_parts)
            _check(session, reading.split, course)
            courses.append(course)
        yield Corpus(readings, Mixture(courses, [reading.share for reading in readings], pace))


def _parts(session: Session, reading: Reading, *, contiguous: bool) -> Parts:
    config, run = session.config, session.run
    artifact = run.artifact(config.data or "")
    path = split_file(artifact, reading.split)
    facts = artifact.details["splits"][reading.split]
    if facts["held_out"]:
        raise DataError(f"split '{reading.split}' is held out for evaluation; train on another one")
    if facts["record"] not in ("document", "conversation"):
        raise TrainingError(
            f"split '{reading.split}' holds {facts['record']}s, and pretraining would learn all that stands in "
            "them; name a split of documents or conversations"
        )
    recorded = artifact.files.get(path.name)
    return Parts(
        path,
        Tokenising(
            session.renderer, config.max_tokens, config.over_length, contiguous, train_all=reading.train_all
        ),
        content=recorded["sha256"] if recorded else sha256(path),
        places=[artifact.folder / "shards", run.cache / "shards"],
        part_bytes=reading.part_bytes,
        writes=session.accelerator.is_main_process,
    )


def _check(session: Session, split: str, course: Course) -> None:
    first = course.parts[course.members(0)[0]]
    require_trained(first, course.parts.path)
    session.refuse_longer(first.meta["lengths"]["max"], split)


def with_perplexity(means: dict[str, float]) -> dict[str, float]:
    """Adds exp(loss), the perplexity per token."""
    return {**means, "perplexity": math.exp(min(means["loss"], 700.0))}


def _few(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
