"""The batches of SFT: conversations or preferences, in one order, in phases or mixed, with or without text beside."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xinglin.config.sft import Curriculum, Regulariser
from xinglin.data.hindsight import Reading
from xinglin.data.shards import Shards
from xinglin.data.splits import split_file
from xinglin.errors import DataError
from xinglin.runtime.stage_run import Outcome
from xinglin.train.batches import Batches, Steps, shard_batches
from xinglin.train.corpus import Corpus
from xinglin.train.curriculum import build_phases, evaluated, find_buckets
from xinglin.train.meter import read_rows
from xinglin.train.objectives.language_modeling import Objective, Sources
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
    corpus: Corpus | None = None
    """The training split and what is mixed in; None: it is trained on alone."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the report says about the order of the training split; filled by the call for that split, the first."""

    def __call__(self, session: Session, split: str, *, training: bool) -> Batches:
        if training and self.corpus:
            batches, end = self.corpus.batches(session, split, training=True), self.corpus.end
        else:
            shards = session.shards(split, preferences=self.reading, apart=self.apart)
            steps, buckets = self._order(session, shards, split, training=training)
            objective = Objective.of(shards, buckets=buckets)
            batches, end = shard_batches(shards, steps, objective, split=split), len(shards)
        return self._beside(batches, session, end) if training and self.regulariser else batches

    def _order(
        self, session: Session, shards: Shards, split: str, *, training: bool
    ) -> tuple[Steps, Sources | None]:
        """The steps over a split, and which bucket of the curriculum each of its sequences is in."""
        steps: Steps = session.plan(shards, training=training)
        if not self.curriculum:
            return steps, None
        path = split_file(session.run.artifact(session.config.data or ""), split)
        if training:
            steps, self.details["curriculum"] = build_phases(session, shards, self.curriculum, path=path)
            return steps, None
        phases = self.details["curriculum"]["phases"]
        return steps, find_buckets(session, shards, phases, self.curriculum.by, path=path)

    def _beside(self, batches: Batches, session: Session, end: int) -> Batches:
        """``batches``, whose sequences have numbers below ``end``, with the regulariser's text beside them."""
        assert self.regulariser
        assert isinstance(batches.objective, Objective)
        written = session.shards(self.regulariser.split)
        if written.group != 1:
            raise DataError(
                f"regulariser.split '{self.regulariser.split}' holds preferences; name one of documents"
            )
        text = Text(
            written,
            end,
            self.regulariser.batch_size,
            session.config.micro_batch_tokens if session.config.packing else 1,
            session.run.seed,
            session.accelerator.num_processes,
        )
        return with_text(batches, batches.objective, text, weight=self.regulariser.weight)

    def conclude(self, metrics: Path, outcome: Outcome, *, best_step: int | None) -> dict[str, Any]:
        """``details`` when all is done, with what was read of each split, and with the losses of the buckets in the
        evaluation of the weights that are kept.

        Args:
            metrics: ``metrics.jsonl``.
            best_step: the step whose weights were kept; None: the last one.
        """
        if self.corpus:
            self.details["reading"] = self.corpus.conclude(outcome)
        if self.curriculum:
            rows = [row for row in read_rows(metrics) if row["kind"] == "eval"]
            rows = [
                row for row in rows if row["split"] == rows[0]["split"] and best_step in (None, row["step"])
            ]
            phases = self.details["curriculum"]["phases"]
            self.details["curriculum"]["phases"] = evaluated(phases, rows[-1]) if rows else phases
        return self.details
