"""The batches of SFT: conversations or preferences, in one order or in phases, with or without text beside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xinglin.config.sft import Curriculum, Regulariser
from xinglin.data.hindsight import Reading
from xinglin.data.splits import split_file
from xinglin.errors import DataError
from xinglin.train.batches import Batches, Steps, shard_batches
from xinglin.train.curriculum import build_phases, evaluated, find_buckets
from xinglin.train.meter import read_rows
from xinglin.train.objectives.language_modeling import Objective
from xinglin.train.regulariser import Text, with_text
from xinglin.train.session import Session


@dataclass
class Supervised:
    """Builds the batches of a split."""

    reading: Reading
    """What preferences are read as."""
    apart: bool = False
    """Each answer ends a sequence of its own, where that changes it."""
    curriculum: Curriculum | None = None
    regulariser: Regulariser | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """What the report says about the order of the training split; filled by the call for that split, the first."""

    def __call__(self, session: Session, split: str, *, training: bool) -> Batches:
        shards = session.shards(split, preferences=self.reading, apart=self.apart)
        steps: Steps = session.plan(shards, training=training)
        buckets = None
        if self.curriculum:
            path, by = split_file(session.run.artifact(session.config.data or ""), split), self.curriculum.by
            if training:
                steps, self.details["curriculum"] = build_phases(session, shards, self.curriculum, path=path)
            else:
                phases = self.details["curriculum"]["phases"]
                buckets = find_buckets(session, shards, phases, by, path=path)
        objective = Objective.of(shards, buckets=buckets)
        batches = shard_batches(shards, steps, objective, split=split)
        if not (training and self.regulariser):
            return batches
        written = session.shards(self.regulariser.split)
        if written.group != 1:
            raise DataError(
                f"regulariser.split '{self.regulariser.split}' holds preferences; name one of documents"
            )
        text = Text(
            written,
            len(shards),
            self.regulariser.batch_size,
            session.config.micro_batch_tokens if session.config.packing else 1,
            session.run.seed,
            session.accelerator.num_processes,
        )
        return with_text(batches, objective, text, weight=self.regulariser.weight)

    def conclude(self, metrics: Path, *, best_step: int | None) -> dict[str, Any]:
        """``details`` when all is done, with the losses of the buckets in the evaluation of the weights that are kept.

        Args:
            metrics: ``metrics.jsonl``.
            best_step: the step whose weights were kept; None: the last one.
        """
        rows = [
            row for row in read_rows(metrics) if row["kind"] == "eval" and best_step in (None, row["step"])
        ]
        if self.curriculum and rows:
            phases = self.details["curriculum"]["phases"]
            self.details["curriculum"]["phases"] = evaluated(phases, rows[-1])
        return self.details
