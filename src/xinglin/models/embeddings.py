"""Rows for new tokens: in the input embedding and in the head, each the mean of the rows that it replaces."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from xinglin.runtime import atomic

FILE = "vocabulary.json"


@dataclass(frozen=True)
class Extension:
    """What was added to a model's vocabulary; ``vocabulary.json`` in its folder."""

    first_new_id: int
    """Ids from here on are new, as many as there are in ``added``."""
    added: list[str]
    """The new tokens as people read them, in the order of their ids."""
    rows: int
    """Rows of the embedding: more than there are tokens."""

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        atomic.write_text(folder / FILE, text)


def read_extension(folder: Path) -> Extension | None:
    """What was added to the vocabulary of the model in ``folder``; None for one that was not extended."""
    path = folder / FILE
    return Extension(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@torch.no_grad()
def extend_embeddings(
    model: PreTrainedModel, parts: Sequence[tuple[int, ...]], *, first_new_id: int, multiple: int
) -> int:
    """Make rows for tokens ``first_new_id``, ``first_new_id + 1``, …; tied heads stay tied.

    A new row is the mean of the rows of its ``parts``, taken in float32; an earlier new token among them counts as
    its own parts. The rows that fill up to a multiple of ``multiple`` are the mean of all old ones. A model keeps
    rows that it has beyond its tokens.

    Returns:
        How many rows there are now, which is also ``config.vocab_size``.
    """
    embedding: Any = model.get_input_embeddings()
    needed = max(embedding.weight.shape[0], first_new_id + len(parts))
    model.resize_token_embeddings(-(-needed // multiple) * multiple, mean_resizing=False)
    matrices: dict[int, Tensor] = {}
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        for tensor in (getattr(module, "weight", None), getattr(module, "bias", None)):
            if isinstance(tensor, Tensor):
                matrices[tensor.data_ptr()] = tensor
    old_parts = _old_parts(parts, first_new_id)
    for matrix in matrices.values():
        _fill(matrix, old_parts, first_new_id)
    return int(model.get_input_embeddings().weight.shape[0])  # type: ignore[union-attr]


def _old_parts(parts: Sequence[tuple[int, ...]], first: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for ids in parts:
        found.append(tuple(old for each in ids for old in ((each,) if each < first else found[each - first])))
    return found


def _fill(matrix: Tensor, parts: Sequence[tuple[int, ...]], first: int) -> None:
    """Rows (V, H) of a matrix, or entries (V,) of a bias, from ``first`` on."""
    old = matrix[:first].float()
    end = first + len(parts)
    means = [old[list(ids)].mean(0) for ids in parts]
    matrix[first:end] = torch.stack(means).to(matrix.dtype) if means else matrix[first:end]
    matrix[end:] = old.mean(0).to(matrix.dtype)
