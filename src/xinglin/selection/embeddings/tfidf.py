"""TF-IDF: n-grams of characters (of words in Latin script), hashed, in their main directions; needs no model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from xinglin.data.copies.fingerprints import compared, fold
from xinglin.data.records import Record
from xinglin.selection.embeddings import EmbeddingConfig, Records, unit
from xinglin.selection.geometry import Points
from xinglin.selection.scores import Context

if TYPE_CHECKING:
    from xinglin.selection.latent import Counts

NGRAMS = (1, 2, 3)
BITS = 20
"""N-grams are told apart by so many bits of their hash."""
FITTED = 10_000
"""Records that directions and frequencies are learned from, spread evenly over the split."""


class Config(EmbeddingConfig):
    """Latent semantic analysis: TF-IDF of hashed 1- to 3-grams, its largest singular directions."""

    name: Literal["tfidf"] = "tfidf"
    """This embedding."""
    dimensions: Annotated[int, Field(gt=0, le=1024)] = 128
    """How many directions, at the most."""


def embed(config: Config, context: Context, records: Records) -> Points:
    from xinglin.selection.latent import Latent

    every = -(-records.count // FITTED) or 1
    sample = [record for number, record in enumerate(records.read()) if number % every == 0]
    latent = Latent.fit(_counts(sample, config), config.dimensions, seed=context.seed)
    points = np.zeros((records.count, latent.dimensions), np.float32)
    for place, chunk in records.chunks():
        points[place] = unit(latent.project(_counts(chunk, config)))
        records.advance(len(chunk))
    return points


def _counts(records: Sequence[Record], config: Config) -> "Counts":
    """How often each text has each n-gram."""
    from xinglin.selection.latent import Counts

    units = fold([compared(record, config.text) for record in records]).units()
    grams = [units.grams(n) for n in NGRAMS]
    owners = np.concatenate([gram.owners for gram in grams])
    hashes = np.concatenate([gram.hashes for gram in grams]) >> np.uint64(64 - BITS)
    pairs, counts = np.unique(owners.astype(np.int64) << BITS | hashes.astype(np.int64), return_counts=True)
    return Counts(pairs >> BITS, pairs & ((1 << BITS) - 1), counts.astype(np.float32), len(records))
