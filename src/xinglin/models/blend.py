"""Merge whole models weight by weight: linear, SLERP, TIES, DARE. One tensor is in memory at a time."""

import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft.utils.merge_utils import dare_linear, dare_ties, task_arithmetic, ties
from torch import Tensor

from xinglin.errors import ModelError
from xinglin.models.tensors import TensorReader, TensorWriter


@dataclass(frozen=True)
class Recipe:
    """How models become one."""

    method: str
    """``linear``, ``slerp``, ``ties``, ``dare_linear`` or ``dare_ties``."""
    weights: tuple[float, ...]
    """Of each model; for ``slerp`` one, how far to go from the base to the model."""
    density: float = 1.0
    """Share of each model's changes that TIES (the largest) and DARE (at random) keep."""
    seed: int = 0


class Blend(NamedTuple):
    tensors: int
    distances: list[float]
    """‖result - base‖ / ‖base‖ over all weights, then the same for each model."""


def blend_tensors(base: Tensor, models: list[Tensor], recipe: Recipe, *, name: str) -> Tensor:
    """One float32 tensor of the result, from the base's and each model's.

    SLERP: Shoemake 1985. The others add to the base what its *task vectors*, model minus base, come to: their
    weighted sum (arXiv 2212.04089); TIES, arXiv 2306.01708; DARE, arXiv 2311.03099.

    Args:
        name: of the tensor; DARE's random choice follows from it and the seed.
    """
    if recipe.method == "slerp":
        return slerp(base, models[0], share=recipe.weights[0])
    vectors = [model - base for model in models]
    weights = torch.tensor(recipe.weights)
    if recipe.method == "linear":
        return base + task_arithmetic(vectors, weights)
    combine: Callable[..., Tensor] = {"ties": ties, "dare_linear": dare_linear, "dare_ties": dare_ties}[
        recipe.method
    ]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The density 1.0 is")
        torch.manual_seed(zlib.crc32(name.encode(), recipe.seed))
        return base + combine(vectors, weights, recipe.density)


def slerp(start: Tensor, end: Tensor, *, share: float) -> Tensor:
    """From ``start`` (share 0) to ``end`` (share 1) along the arc between their directions."""
    first, second = start.double(), end.double()
    cosine = (first * second).sum() / (first.norm() * second.norm()).clamp_min(1e-300)
    if cosine.abs() > 1 - 1e-9:  # no arc, or no telling which: the straight line is the limit
        return torch.lerp(start, end, share)
    angle = cosine.arccos()
    parts = ((1 - share) * angle).sin() * first + (share * angle).sin() * second
    return (parts / angle.sin()).to(start.dtype)


def blend_models(base: Path, models: list[Path], recipe: Recipe, out: Path, *, dtype: torch.dtype) -> Blend:
    """Blend the safetensors of model folders into ``out``, then read it back and compare.

    Raises:
        ModelError: the folders do not hold the same tensors, or what was written is not what was computed.
    """
    readers = [TensorReader(folder) for folder in (base, *models)]
    for other in readers[1:]:
        readers[0].require_same_shapes(other)
    writer = TensorWriter(out, readers[0].shapes, dtype=dtype)
    sums = torch.zeros(len(readers) + 1, dtype=torch.float64)
    for name, tensors in _aligned(readers):
        if not tensors[0].is_floating_point():
            writer.add(name, tensors[0])
            continue
        start, *ends = (tensor.float() for tensor in tensors)
        result = blend_tensors(start, ends, recipe, name=name)
        if not result.isfinite().all():
            raise ModelError(
                f"{name}: the merge gives numbers that are not finite; look at the models it is made of"
            )
        writer.add(name, result)
        for index, tensor in enumerate((result, *ends)):
            sums[index] += (tensor - start).double().square().sum()
        sums[-1] += start.double().square().sum()
    writer.close()
    distances = (sums[:-1] / sums[-1]).sqrt().tolist()
    return Blend(len(readers[0].shapes), distances)


def _aligned(readers: list[TensorReader]) -> Iterator[tuple[str, list[Tensor]]]:
    for name in readers[0].shapes:
        yield name, [reader.read(name) for reader in readers]


def require_same_configs(first: Any, second: Any, *, names: tuple[str, str]) -> None:
    """Refuse models whose configs mean other computations.

    Raises:
        ModelError: with the keys that differ.
    """
    silent = {"_name_or_path", "transformers_version", "dtype", "use_cache", "architectures", "vocab_size"}
    left, right = first.to_dict(), second.to_dict()
    keys = sorted(key for key in {*left, *right} - silent if left.get(key) != right.get(key))
    if keys:
        said = ", ".join(f"{key} ({left.get(key)} and {right.get(key)})" for key in keys[:5])
        raise ModelError(f"{names[0]} and {names[1]} cannot be merged, their configs differ: {said}")
