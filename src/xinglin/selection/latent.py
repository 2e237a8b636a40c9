"""Latent semantic analysis in bounded memory: TF-IDF, and its largest singular directions by random projection.

As scikit-learn's TfidfTransformer (smooth idf, sublinear tf, rows of length 1) and TruncatedSVD have it (Halko,
Martinsson and Tropp 2011, arXiv 0909.4061), with signs that are always the same.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from xinglin.selection.geometry import Floats, Ints, Points

OVERSAMPLED = 10
POWERS = 4
"""Passes that sharpen the directions."""
LEAST_TEXTS = 2
"""A feature that fewer texts have tells nothing about likeness."""
MOST_FEATURES = 1 << 17
"""The most frequent ones are used."""


class Counts(NamedTuple):
    """A sparse matrix (texts, features), sorted by text and feature, each pair once."""

    texts: Ints
    features: Ints
    values: npt.NDArray[np.float32]
    number: int
    """Of texts."""


class Latent:
    """Directions in which texts differ most, learned from some texts.

    Args:
        vocabulary: (F,) features in use, ascending.
        idf: (F,) their weights.
        directions: (F, d) orthonormal columns, the largest singular value first.
    """

    def __init__(self, vocabulary: Ints, idf: Floats, directions: Points):
        self.vocabulary, self.idf, self.directions = vocabulary, idf, directions

    @property
    def dimensions(self) -> int:
        return self.directions.shape[1]

    @classmethod
    def fit(cls, counts: Counts, dimensions: int, *, seed: int) -> Self:
        features, texts = np.unique(counts.features, return_counts=True)
        used = np.flatnonzero(texts >= LEAST_TEXTS)
        used = np.sort(used[np.argsort(-texts[used], kind="stable")[:MOST_FEATURES]])
        idf = np.log((1 + counts.number) / (1 + texts[used])) + 1
        latent = cls(features[used], idf, np.zeros((len(used), 0), np.float32))
        rows = latent.weighted(counts)
        latent.directions = principal_directions(rows, len(used), dimensions, seed=seed)
        return latent

    def weighted(self, counts: Counts) -> Counts:
        """(1 + log count) times idf, rows of length 1; ``features`` are then places in the vocabulary."""
        if not len(self.vocabulary):
            nothing = np.zeros(0, np.int64)
            return Counts(nothing, nothing, np.zeros(0, np.float32), counts.number)
        places = np.minimum(np.searchsorted(self.vocabulary, counts.features), len(self.vocabulary) - 1)
        known = self.vocabulary[places] == counts.features
        texts, places = counts.texts[known], places[known]
        values = (1 + np.log(counts.values[known])) * self.idf[places]
        lengths = np.sqrt(np.bincount(texts, weights=values**2, minlength=counts.number))
        return Counts(texts, places, (values / lengths[texts]).astype(np.float32), counts.number)

    def project(self, counts: Counts) -> Points:
        """(texts, d): where texts lie along the directions."""
        return product(self.weighted(counts), self.directions)


def principal_directions(rows: Counts, features: int, number: int, *, seed: int) -> Points:
    """(features, d) right singular vectors of ``rows`` with the largest singular values, d at most ``number``.

    Each is signed so that its largest entry is positive.
    """
    number = min(number, features, rows.number)
    if not number:
        return np.zeros((features, 0), np.float32)
    width = min(number + OVERSAMPLED, features, rows.number)
    order = np.lexsort((rows.texts, rows.features))
    turned = Counts(rows.features[order], rows.texts[order], rows.values[order], features)
    basis = np.random.default_rng(seed).standard_normal((features, width)).astype(np.float32)
    for _ in range(POWERS):
        basis = np.linalg.qr(product(turned, np.linalg.qr(product(rows, basis))[0]))[0]
    _, _, mixing = np.linalg.svd(product(rows, basis).astype(np.float64), full_matrices=False)
    directions = basis @ mixing[:number].T.astype(np.float32)
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.sign(directions[largest, np.arange(number)])


def product(rows: Counts, matrix: Points) -> Points:
    """``rows`` (N, F) times ``matrix`` (F, d)."""
    if not len(rows.texts) or not matrix.shape[1]:
        return np.zeros((rows.number, matrix.shape[1]), np.float32)
    starts = np.searchsorted(rows.texts, np.arange(rows.number))
    summed = torch.nn.functional.embedding_bag(
        torch.from_numpy(rows.features),
        torch.from_numpy(np.ascontiguousarray(matrix)),
        torch.from_numpy(starts),
        mode="sum",
        per_sample_weights=torch.from_numpy(rows.values),
    )
    return summed.numpy()
