"""What a selection did, as plain data for the artifact and the report: shares, lengths, scores, examples."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xinglin.data.deidentify import Deidentification
from xinglin.data.records import Conversation, Document, Preference, Question, Record
from xinglin.data.treatment import redactor
from xinglin.selection.geometry import Floats, Mask
from xinglin.selection.quotas import Groups

BINS = 30
EDGES = (0.01, 0.99)
"""Quantiles between which a histogram is drawn; what lies beyond counts in its first and last bar."""
SHOWN_GROUPS = 30
ENDS = 3
"""Examples at each end of a score."""
CHARACTERS = 240
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True)
class Summary:
    """Counts over a split and its subsets.

    Args:
        subsets: name -> (N,) mask: ``chosen``, and ``random`` where it was drawn.
        lengths: (N,) of the records, in ``unit``.
    """

    subsets: Mapping[str, Mask]
    lengths: Floats
    unit: str

    def sizes(self) -> dict[str, Any]:
        """Records and length of the whole split and of each subset."""
        every = {"split": np.ones(len(self.lengths), np.bool_), **self.subsets}
        return {name: self._size(mask) for name, mask in every.items()}

    def shares(self, groups: Groups) -> list[dict[str, Any]]:
        """How many records have each value, the most frequent ones first; the rest together."""
        counts = {
            name: np.bincount(groups.codes[mask], minlength=len(groups.names))
            for name, mask in {"split": np.ones(len(groups.codes), np.bool_), **self.subsets}.items()
        }
        order = np.argsort(-counts["split"], kind="stable")
        rows = [{"value": groups.names[at], **_counted(counts, [at])} for at in order[:SHOWN_GROUPS]]
        if len(order) > SHOWN_GROUPS:
            rest = order[SHOWN_GROUPS:]
            rows.append({"value": f"{len(rest)} others", **_counted(counts, rest)})
        return rows

    def score(self, values: Floats) -> dict[str, Any]:
        """Histogram, quantiles and the correlation with length (Spearman's) of a score."""
        known = ~np.isnan(values)
        if not known.any():
            return {"records": 0}
        low, high = np.quantile(values[known], EDGES)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        clipped = np.clip(values, edges[0], edges[-1])
        histogram = {
            name: np.histogram(clipped[mask & known], edges)[0].tolist()
            for name, mask in {"split": known, **self.subsets}.items()
        }
        return {
            "records": int(known.sum()),
            "mean": {
                name: float(values[mask & known].mean()) if (mask & known).any() else None
                for name, mask in {"split": known, **self.subsets}.items()
            },
            **{name: float(np.quantile(values[known], at)) for name, at in QUANTILES.items()},
            "edges": edges.tolist(),
            "histogram": histogram,
            "length_correlation": spearman(values[known], self.lengths[known]),
        }

    def _size(self, mask: Mask) -> dict[str, Any]:
        lengths = self.lengths[mask]
        quantiles = {name: float(np.quantile(lengths, at)) for name, at in QUANTILES.items()}
        return {"records": int(mask.sum()), self.unit: int(lengths.sum()), "lengths": quantiles}


def spearman(left: Floats, right: Floats) -> float | None:
    """Rank correlation; None where one of both is constant."""
    first, second = mean_ranks(left), mean_ranks(right)
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mean_ranks(values: Floats) -> Floats:
    """1 for the lowest; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts + 1) / 2)[inverse]


def ends(values: Floats) -> dict[str, list[int]]:
    """The records with the lowest and the highest values."""
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")].tolist()
    return {"lowest": order[:ENDS], "highest": order[-ENDS:][::-1]}


def examples(
    scores: Mapping[str, Floats], chosen: Mask, records: Iterator[Record]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Title of each score -> its ends, as texts that a person can read, without personal data that the detectors
    find."""
    redact = redactor(Deidentification(mode="replace"), secrets.token_bytes(32))
    wanted = {title: ends(values) for title, values in scores.items()}
    rows = {index for both in wanted.values() for side in both.values() for index in side}
    shown = {index: _shown(record, redact) for index, record in enumerate(records) if index in rows}
    return {
        title: {
            side: [
                {"value": float(scores[title][index]), "chosen": bool(chosen[index]), **shown[index]}
                for index in indices
            ]
            for side, indices in both.items()
        }
        for title, both in wanted.items()
    }


def _shown(record: Record, redact: Callable[[str], str]) -> dict[str, str]:
    match record:
        case Document():
            said = {"text": record.text}
        case Conversation():
            said = {message.role: message.content for message in record.messages[-2:]}
        case Preference():
            said = {"user": record.prompt[-1].content, "assistant": record.chosen}
        case Question():
            said = {"user": record.question, "assistant": record.answer}
    return {"origin": str(record.origin), **{role: _cut(redact(text)) for role, text in said.items()}}


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[:CHARACTERS] + "…"


def _counted(counts: Mapping[str, Any], places: Any) -> dict[str, int]:
    return {name: int(values[places].sum()) for name, values in counts.items()}
