"""How well scores tell better answers from worse ones: accuracy, margins, length bias, calibration."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xinglin.evaluate.statistics import Interval, bootstrap_interval, wilson_interval

MARGIN_BINS, CONFIDENCE_BINS = 30, 10

Floats = NDArray[np.floating]
Summary = dict[str, Any]


def judge_pairs(
    scores: Floats, *, lengths: NDArray[np.integer], sources: Sequence[str], seed: int
) -> Summary:
    """Everything that is said about the pairs of a split, as plain data.

    Args:
        scores: (P, 2) of chosen and rejected answers; P is at least 1.
        lengths: (P, 2) of the answers, in tokens or characters.
        sources: (P,) where each pair comes from.
        seed: of the bootstrap.
    """
    margins = scores[:, 0].astype(np.float64) - scores[:, 1]
    right = margins > 0
    longer = lengths[:, 0] - lengths[:, 1]
    files = np.asarray(sources)
    return {
        "pairs": len(margins),
        "accuracy": _share(right),
        "margin": {"value": float(margins.mean()), **_ends(bootstrap_interval(margins.tolist(), seed=seed))},
        "chosen_score": float(scores[:, 0].mean()),
        "rejected_score": float(scores[:, 1].mean()),
        "histogram": histogram(margins),
        "length": {
            "correlation": correlation(scores, lengths),
            "chosen_longer": float((longer > 0).mean()),
            "accuracy_longer": _share(right[longer > 0]),
            "accuracy_shorter": _share(right[longer < 0]),
        },
        "calibration": calibration(margins),
        "sources": {source: _share(right[files == source]) for source in dict.fromkeys(sources)},
    }


def correlation(scores: Floats, lengths: NDArray[np.integer]) -> float:
    """Pearson's, of score and length over all answers; 0 where one of them never changes."""
    one, other = (values.astype(np.float64).ravel() for values in (scores, lengths))
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def histogram(margins: Floats) -> Summary:
    """Counts of margins in bins of equal width, with 0 as one of the edges."""
    low, high = min(float(margins.min()), 0.0), max(float(margins.max()), 0.0)
    width = (high - low) / MARGIN_BINS or 1.0
    below = int(np.ceil(-low / width - 1e-9))
    above = max(int(np.ceil(high / width - 1e-9)), 1)
    edges = np.arange(-below, above + 1) * width
    inside = np.clip(margins, edges[0], edges[-1])
    return {"edges": edges.tolist(), "counts": np.histogram(inside, edges)[0].tolist()}


def calibration(margins: Floats) -> Summary:
    """Whether sigmoid(margin) is the probability that it claims to be (expected calibration error, arXiv 1706.04599).

    Which answer is the chosen one is hidden from the model: its confidence in the answer that it scores higher is
    sigmoid(|margin|), from 0.5 to 1, and it is right if that one was chosen.
    """
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    right = margins > 0
    number = np.minimum((2 * confidence - 1) * CONFIDENCE_BINS, CONFIDENCE_BINS - 1).astype(int)
    bins, error = [], 0.0
    for index in range(CONFIDENCE_BINS):
        members = number == index
        if not members.any():
            continue
        claimed, observed = float(confidence[members].mean()), _share(right[members])
        error += abs(claimed - observed["value"]) * members.mean()
        bins.append({"confidence": claimed, **observed})
    return {"error": float(error), "bins": bins}


def _share(hits: NDArray[np.bool_]) -> Summary:
    """A share with its interval (Wilson) and number of trials; value None where there are none."""
    if not len(hits):
        return {"value": None, "low": None, "high": None, "pairs": 0}
    found = wilson_interval(int(hits.sum()), trials=len(hits))
    return {"value": float(hits.mean()), **_ends(found), "pairs": len(hits)}


def _ends(found: Interval) -> Summary:
    return {"low": found.low, "high": found.high}
