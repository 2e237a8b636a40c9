"""The splits that a stage reads together, and what was read of each in the end."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import exp, inf
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xinglin.config.mixing import MixingConfig
from xinglin.data.course import SOURCE_BITS, Course, split_number
from xinglin.data.hindsight import Reading as HowRead
from xinglin.data.mixture import Mixture, Order, Pace, Priorities, Shares
from xinglin.data.packing import Packed, pack_sequences
from xinglin.data.splits import Tokenising, require_trained, split_file
from xinglin.data.stream import Parts
from xinglin.errors import DataError, TrainingError
from xinglin.runtime.artifact import sha256
from xinglin.runtime.stage_run import Outcome
from xinglin.train.batches import Batches, Ints, shard_batches
from xinglin.train.forecast import DEFAULT_BATCH
from xinglin.train.lints import heed, lint_readings, lint_splits
from xinglin.train.objectives.language_modeling import Objective, Sources
from xinglin.train.session import Session


@dataclass(frozen=True)
class Reading:
    """A split, and how it is read."""

    split: str
    share: float | None = None
    """Of all tokens."""
    priority: float | None = None
    """Instead, how much earlier than others its sequences come."""
    epochs: float = inf
    """Read it at most so often; with a priority, exactly."""
    train_all: bool = False
    """Train every token of conversations, not only the answers."""
    preferences: HowRead = "pairs"
    """What preferences are read as; only conversations can be mixed."""
    apart: bool = False
    """Each answer ends a sequence of its own, where that changes it."""
    part_bytes: int | None = None
    """Tokenise it in parts of this size while training goes on; None: whole, before."""


def read_together(config: MixingConfig, *, train_all: bool) -> list[Reading]:
    """How a stage reads its own split, which comes first, and those that are mixed in.

    ``train_all``: of conversations in ``mix`` that do not say themselves what is trained.
    """
    if config.priority is None:
        own = Reading(config.split, config.own_share)
    else:
        own = Reading(config.split, priority=config.priority, epochs=config.epochs)
    mixed = [
        Reading(
            each.split,
            each.share,
            each.priority,
            each.max_epochs or (inf if config.priority is None else 1.0),
            train_all if each.train is None else each.train == "all",
        )
        for each in config.mix
    ]
    return [own, *mixed]


@dataclass(frozen=True)
class Corpus:
    """Splits in one order."""

    session: Session
    readings: Sequence[Reading]
    mixture: Mixture

    @property
    def end(self) -> int:
        """All sequences have numbers below."""
        return len(self.readings) << SOURCE_BITS

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

    def conclude(self, outcome: Outcome) -> dict[str, Any]:
        """What was read of each split, and how many steps the schedule was laid out for."""
        facts, session = outcome.details["train"], self.session
        planned, steps = len(self.mixture), facts["steps"]
        by_itself = not facts["stopped_early"] and steps != session.config.max_steps
        if by_itself and steps != planned:
            print(f"the text made {steps:,} steps; the learning rate was laid out for {planned:,}")
        taken = self.mixture.taken(steps)
        total = sum(each.tokens for each in taken)
        splits = {
            reading.split: {
                "share": round(each.tokens / max(1, total), 5),
                **(
                    {"share_wanted": round(reading.share, 5)}
                    if reading.share
                    else {"priority": reading.priority}
                ),
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
            course = Course(
                parts, number=number, seed=session.run.seed, window_parts=window_parts, most=reading.epochs
            )
            _check(session, reading.split, course)
            courses.append(course)
        order = _order(readings, courses, epochs=config.epochs)
        mixture = Mixture(order, pace)
        expected = zip(readings[1:], mixture.readings()[1:], strict=True)
        heed(lint_readings({reading.split: epochs for reading, epochs in expected}))
        yield Corpus(session, readings, mixture)


def _order(readings: Sequence[Reading], courses: Sequence[Course], *, epochs: float) -> Order:
    priorities = [reading.priority for reading in readings if reading.priority is not None]
    if priorities:
        return Priorities(courses, priorities)
    return Shares(courses, [reading.share or 0.0 for reading in readings], epochs=epochs)


def _parts(session: Session, reading: Reading, *, contiguous: bool) -> Parts:
    config, run = session.config, session.run
    artifact = run.artifact(config.data or "")
    path = split_file(artifact, reading.split)
    facts = artifact.details["splits"][reading.split]
    if facts["held_out"]:
        raise DataError(f"split '{reading.split}' is held out for evaluation; train on another one")
    readable = ("document", "conversation", *(() if reading.preferences == "pairs" else ("preference",)))
    if facts["record"] not in readable:
        raise TrainingError(
            f"split '{reading.split}' holds {facts['record']}s, and all that stands in them would be learned; "
            "name a split of documents or conversations"
        )
    recorded = artifact.files.get(path.name)
    return Parts(
        path,
        Tokenising(
            session.renderer,
            config.max_tokens,
            config.over_length,
            contiguous,
            train_all=reading.train_all,
            preferences=reading.preferences,
            apart=reading.apart,
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
    return {**means, "perplexity": exp(min(means["loss"], 700.0))}


def _few(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
