"""Score a split of pairs with the reward model that a session has trained."""

import numpy as np
import numpy.typing as npt

from xinglin.models.reward import RewardModel, Scale
from xinglin.runtime.progress import progress
from xinglin.train.pairs import Pairs
from xinglin.train.session import Session
from xinglin.train.sharding import put_together

SCALE_PAIRS = 500
"""Training pairs whose scores say what is usual."""


def rate_pairs(
    session: Session, pairs: Pairs, *, label: str, numbers: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float32]:
    """(P, 2) scores of the chosen and the rejected answers, of all pairs or of these ``numbers``.

    In a run of several processes each computes all of them.
    """
    wanted = range(len(pairs.sources)) if numbers is None else numbers.tolist()
    groups = [[pairs.shards[2 * number].ids, pairs.shards[2 * number + 1].ids] for number in wanted]
    with (
        put_together(session.model),
        session.accelerator.autocast(),
        progress(2 * len(groups), label) as bar,
    ):
        rater = RewardModel(session.model, session.renderer, batch_tokens=session.config.micro_batch_tokens)
        return np.array(rater.score_tokens(groups, progress=bar.advance), dtype=np.float32)


def usual_scale(session: Session, pairs: Pairs) -> Scale:
    """Mean and standard deviation of the scores of up to 500 of the training ``pairs``."""
    numbers = np.random.default_rng(session.run.seed).permutation(len(pairs.sources))[:SCALE_PAIRS]
    scores = rate_pairs(session, pairs, label="scale of the scores", numbers=numbers).astype(np.float64)
    return Scale(float(scores.mean()), float(max(scores.std(), 1e-6)))
