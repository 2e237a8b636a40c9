"""What a reward model has to know about preference pairs, beside their tokens."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from xinglin.data.shards import Shards
from xinglin.data.splits import read_split, split_file
from xinglin.errors import DataError
from xinglin.train.batches import Batches, shard_batches
from xinglin.train.objectives.reward import Objective
from xinglin.train.preferences import telling_pairs
from xinglin.train.session import Session

Floats = npt.NDArray[np.float32]


class Pairs(NamedTuple):
    """P pairs whose answers differ, in the order of their shards."""

    shards: Shards
    margins: Floats
    """(P,) by how much the chosen answer is to win."""
    weights: Floats
    """(P,) 1 on average; the pairs that one row was ranked into share the weight of one row."""
    sources: list[str]
    """(P,) the file that each came from."""
    identical: int
    """Pairs that were left out, since both answers have the same tokens."""

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """(P, 2) trained tokens of the chosen and of the rejected answer."""
        return self.shards.counts.reshape(-1, 2)


def read_pairs(session: Session, split: str, *, margin: str | None) -> Pairs:
    """The pairs of ``split``.

    Every row of a source counts once, however many pairs it was ranked into: its C(n, 2) pairs share its weight, as
    in the loss of InstructGPT (arXiv 2203.02155, equation 1).

    Args:
        margin: the key of a row's ``meta`` that says by how much its chosen answer is better; None: 0 for all.

    Raises:
        TrainingError: the split holds no preferences, or none whose answers differ.
        DataError: a row has no number as its margin.
    """
    shards, identical = telling_pairs(session, split)
    path = split_file(session.run.artifact(session.config.data or ""), split)
    wanted = set(shards.rows.tolist())
    records = {row: record for row, record in enumerate(read_split(path)) if row in wanted}
    used = [records[row] for row in shards.rows[::2].tolist()]
    origins = [(record.origin.file, record.origin.row) for record in used]
    pairs_of = Counter(origins)
    share = np.array([1 / pairs_of[origin] for origin in origins])
    return Pairs(
        shards,
        margins=np.array([_margin(record, path, margin) for record in used], dtype=np.float32),
        weights=(share / share.mean()).astype(np.float32),
        sources=[Path(file).name for file, _ in origins],
        identical=identical,
    )


def pair_batches(session: Session, pairs: Pairs, *, split: str, center: float, training: bool) -> Batches:
    """Batches of ``pairs``, what the two sequences of one begin with computed once."""
    objective = Objective(torch.from_numpy(pairs.margins), torch.from_numpy(pairs.weights), center=center)
    steps = session.plan(pairs.shards, training=training)
    return shard_batches(pairs.shards, steps, objective, split=split, share=session.share)


def _margin(record: Any, path: Path, key: str | None) -> float:
    value = 0.0 if key is None else record.meta.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(
            f"{path.name}: {record.origin}: its {key} is {value!r}, no number; give every row one, or leave margin out"
        )
    return float(value)
