"""The batches of SFT: conversations or preferences, in one order or in phases, with or without text beside them."""

from dataclasses import dataclass, field
from typing import Any

from xinglin.config.sft import Curriculum, Regulariser
from xinglin.data.hindsight import Reading
from xinglin.data.splits import split_file
from xinglin.errors import DataError
from xinglin.train.batches import Batches, Steps, shard_batches
from xinglin.train.curriculum import build_phases
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
    """What the report says about the order of the training split; filled by the call."""

    def __call__(self, session: Session, split: str, *, training: bool) -> Batches:
        shards = session.shards(split, preferences=self.reading, apart=self.apart)
        objective = Objective.of(shards)
        steps: Steps = session.plan(shards, training=training)
        if training and self.curriculum:
            path = split_file(session.run.artifact(session.config.data or ""), split)
            steps, self.details["curriculum"] = build_phases(session, shards, self.curriculum, path=path)
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
