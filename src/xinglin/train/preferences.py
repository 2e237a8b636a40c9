"""Preference pairs as a training run takes them: those whose answers differ, with what a loss needs to know."""

from dataclasses import replace

import numpy as np
import torch

from xinglin.data.records import Rating
from xinglin.data.shards import Shards
from xinglin.data.splits import read_split, split_file
from xinglin.errors import TrainingError
from xinglin.train.batches import Batches, shard_batches
from xinglin.train.kto import KlBaseline
from xinglin.train.objectives.dpo import Objective
from xinglin.train.objectives.rated import Objective as RatedObjective
from xinglin.train.preference_losses import REFERENCE_FREE, PreferenceLoss
from xinglin.train.reference import reference_log_probs
from xinglin.train.session import Session


def telling_pairs(session: Session, split: str) -> tuple[Shards, int]:
    """The pairs of ``split`` whose answers differ, and the number of those left out since theirs do not.

    Texts that differ can be the same tokens: in what a template or a tokenizer leaves out.

    Raises:
        TrainingError: the split holds no preferences, or none whose answers differ.
    """
    shards = session.shards(split)
    if shards.group != 2:
        raise TrainingError(f"split '{split}' holds no preferences; name one that does")
    pairs = np.arange(len(shards)).reshape(-1, 2)
    same = shards.lengths[pairs[:, 0]] == shards.lengths[pairs[:, 1]]
    for number in np.flatnonzero(same):
        chosen, rejected = pairs[number]
        same[number] = np.array_equal(shards[chosen].ids, shards[rejected].ids)
    if not same.any():
        return shards, 0
    lines = ", ".join(str(row + 1) for row in shards.rows[pairs[same, 0]][:10])
    if same.all():
        raise TrainingError(
            f"split '{split}': chosen and rejected are the same tokens in every pair (lines {lines}…), so there is "
            f"nothing to prefer; look at the data, and at what template and tokenizer leave out"
        )
    session.accelerator.print(
        f"split '{split}': {same.sum()} of {len(same)} pairs are left out, chosen and rejected are the same tokens "
        f"(lines {lines}{'…' if same.sum() > 10 else ''})"
    )
    return shards.only(pairs[~same].reshape(-1)), int(same.sum())


def preference_batches(
    session: Session, shards: Shards, split: str, *, loss: PreferenceLoss, precompute: bool, training: bool
) -> Batches:
    """Batches of the pairs in ``shards``.

    ``precompute``: the reference's log-probabilities are computed now; otherwise the model without its adapter is
    asked at every step.
    """
    precompute = precompute and loss.name not in REFERENCE_FREE
    steps = session.plan(shards, training=training)
    objective = Objective(loss, reference=reference_log_probs(session, shards, steps) if precompute else None)
    batches = shard_batches(shards, steps, objective, split=split, share=session.share)
    if loss.name != "kto":
        return batches
    return replace(batches, before=KlBaseline(session, shards, objective, precompute=precompute))


def rated_batches(
    session: Session, split: str, *, loss: PreferenceLoss, precompute: bool, training: bool
) -> tuple[Batches, dict[str, int]]:
    """Batches of the rated answers of ``split``, and how many are good and bad; ``precompute`` as above."""
    shards = session.shards(split)
    path = split_file(session.run.artifact(session.config.data or ""), split)
    every = np.array([isinstance(record, Rating) and record.good for record in read_split(path)])
    good = every[shards.rows]
    steps = session.plan(shards, training=training)
    reference = reference_log_probs(session, shards, steps) if precompute else None
    objective = RatedObjective(loss, torch.from_numpy(good), reference=reference)
    batches = shard_batches(shards, steps, objective, split=split, share=session.share)
    before = KlBaseline(session, shards, objective, precompute=precompute)
    return replace(batches, before=before), {"good": int(good.sum()), "bad": int((~good).sum())}
