"""Model: the last hidden states of a language model, averaged over the tokens of a record."""

from typing import Literal

import numpy as np

from xinglin.selection.embeddings import EmbeddingConfig, Records, unit
from xinglin.selection.geometry import Points
from xinglin.selection.scores import Context, Reads

RECORDS = ("conversation", "document")


class Config(EmbeddingConfig, Reads):
    """What the model that is to be trained makes of a record."""

    name: Literal["model"]
    """This embedding."""


def embed(config: Config, context: Context, records: Records) -> Points:
    reader = context.reader(config)
    parts = []
    for _, chunk in records.chunks():
        parts.append(unit(reader.hidden_means(chunk, questions=config.text == "question")))
        records.advance(len(chunk))
    return np.concatenate(parts)
