"""Curriculum: the sequences of a split in phases from easy to hard.

Sequences are scored once, before the first step, and cut at quantiles of the score into buckets. A phase is one
bucket and a share of each bucket before it, trained on as a run of its own would be; the learning rate is laid out
over all phases together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from xinglin.config.sft import Curriculum
from xinglin.data.packing import Ints, Packed, Plan, Step, pack_sequences
from xinglin.data.shards import Shards
from xinglin.data.splits import read_split
from xinglin.errors import DataError
from xinglin.train.batches import Steps
from xinglin.train.objectives.language_modeling import Sources
from xinglin.train.reference import reference_log_probs, summed_log_probs
from xinglin.train.session import Session

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Phases:
    """The steps of several runs, one after another. A step has the sequence numbers of the whole split."""

    parts: Sequence[tuple[Ints, Steps]]
    """Sequences of each phase, and the steps over them, which number them from 0."""
    max_steps: int | None = None

    def __len__(self) -> int:
        steps = sum(len(steps) for _, steps in self.parts)
        return min(steps, self.max_steps or steps)

    def __getitem__(self, number: int, /) -> Step:
        if not 0 <= number < len(self):
            raise IndexError(number)
        epochs = 0.0
        for kept, steps in self.parts:
            if number < len(steps):
                step = steps[number]
                batches = tuple(tuple(kept[batch] for batch in part) for part in step.micro_batches)
                return replace(step, epoch=epochs + step.epoch, micro_batches=batches)
            number -= len(steps)
            epochs += steps[len(steps) - 1].epoch
        raise AssertionError


def build_phases(
    session: Session, shards: Shards, curriculum: Curriculum, *, path: Path
) -> tuple[Phases, dict[str, Any]]:
    """The phases over the split in ``path``, and what the report says of them."""
    scores = score(session, shards, curriculum.by, path=path)
    buckets = cut(scores, curriculum.buckets)
    parts: list[tuple[Ints, Steps]] = []
    for number in range(len(buckets)):
        kept = with_replay(buckets, number, share=curriculum.replay, seed=session.run.seed)
        parts.append((kept, session.plan(shards.only(kept), training=True)))
    shown = [
        {
            "sequences": len(bucket),
            "replayed": len(kept) - len(bucket),
            "lowest": float(scores[bucket].min()),
            "highest": float(scores[bucket].max()),
            "steps": len(steps),
        }
        for bucket, (kept, steps) in zip(buckets, parts, strict=True)
    ]
    return Phases(parts, session.config.max_steps), {"by": curriculum.by, "phases": shown}


def find_buckets(
    session: Session, shards: Shards, phases: Sequence[dict[str, Any]], by: str, *, path: Path
) -> Sources:
    """Which bucket of the training split each sequence of another split, in ``path``, would be in.

    Args:
        phases: as ``build_phases`` describes them.
    """
    edges = [phase["highest"] for phase in phases[:-1]]
    bucket = np.searchsorted(edges, score(session, shards, by, path=path), side="left")
    return Sources([_name(number) for number in range(len(phases))], torch.from_numpy(bucket))


def evaluated(phases: Iterable[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """``phases`` with the loss that each bucket has in an evaluation; None: it has no sequence there."""
    return [{**phase, "eval_loss": row.get(f"loss/{_name(number)}")} for number, phase in enumerate(phases)]


def _name(bucket: int) -> str:
    return f"bucket {bucket + 1}"


def cut(scores: Scores, buckets: int) -> list[Ints]:
    """Sequences by quantile of their score, easy first; equal scores stay together, empty buckets are left out."""
    edges = np.quantile(scores, np.arange(1, buckets) / buckets, method="inverted_cdf")
    bucket = np.searchsorted(edges, scores, side="left")
    members = (np.flatnonzero(bucket == number) for number in range(buckets))
    return [sequences for sequences in members if len(sequences)]


def with_replay(buckets: Sequence[Ints], number: int, *, share: float, seed: int) -> Ints:
    """Bucket ``number`` and a random share of each before it, ascending."""
    random = np.random.default_rng([seed, number])
    replayed = [
        random.choice(bucket, round(share * len(bucket)), replace=False) for bucket in buckets[:number]
    ]
    return np.sort(np.concatenate([buckets[number], *replayed]))


def score(session: Session, shards: Shards, by: str, *, path: Path) -> Scores:
    """(sequences,) how hard each is.

    Raises:
        DataError: a record has no such number in its ``meta``.
    """
    if by == "length":
        return shards.counts.astype(np.float64)
    if by not in ("loss", "ifd"):
        return _from_meta(shards, by, path=path)
    losses: Scores = -reference_log_probs(session, shards).double().numpy() / np.maximum(shards.counts, 1)
    return losses / np.maximum(_without_question(session, shards), 1e-9) if by == "ifd" else losses


def _without_question(session: Session, shards: Shards) -> Scores:
    """(sequences,) loss per token of the trained tokens alone, behind a token that begins a text."""
    tokenizer = session.tokenizer
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id

    def answers(indices: Ints) -> Packed:
        examples = []
        for index in indices:
            ids, trained = shards[int(index)]
            alone = np.concatenate([[first], ids[trained > 0]])
            examples.append((alone, np.arange(len(alone)) > 0))
        return pack_sequences(examples)

    config = session.config
    plan = Plan(
        shards.counts + 1,
        shards.counts,
        micro_batch_tokens=config.micro_batch_tokens if config.packing else 1,
        batch_size=256,
        processes=session.accelerator.num_processes,
        shuffle=False,
    )
    content = f"{shards.folder.name} answers alone"
    sums = summed_log_probs(session, plan, answers, number=len(shards), content=content)
    return -sums.double().numpy() / np.maximum(shards.counts, 1)


def _from_meta(shards: Shards, key: str, *, path: Path) -> Scores:
    """(sequences,) the number under ``key`` in the ``meta`` of the record that each was made from."""
    found = []
    for number, record in enumerate(read_split(path)):
        value = record.meta.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(
                f"{path.name}:{number + 1} ({record.origin}): meta.{key} is {value!r}, not a number; give every "
                "record one, or set curriculum.by to length, loss or ifd"
            )
        found.append(float(value))
    return np.array(found)[shards.rows]
