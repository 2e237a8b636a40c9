"""How long training takes on this machine: arithmetic to do over a measured speed."""

import time
from functools import cache

import torch

EFFICIENCY = {"cuda": 0.5, "cpu": 0.55}
"""Share of the speed of one large matrix product that a training step reaches; measured, see benchmarks/."""
LAYER_SECONDS = {"cuda": 8e-4, "cpu": 5e-4}
"""What a layer takes for a single token before any arithmetic, in transformers' own code; half more with an adapter."""


@cache
def matmul_flops_per_second(dtype: torch.dtype) -> float:
    """Best of a few products of large square matrices on the device that training uses, about 0.3 s in all."""
    cuda = torch.cuda.is_available()
    device, size = ("cuda", 8192) if cuda else ("cpu", 1024)
    left, right = torch.randn(2, size, size, device=device).to(dtype)

    def once() -> float:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        torch.matmul(left, right)
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    return 2 * size**3 / min(once() for _ in range(5))


def forecast_seconds(flops: float, dtype: torch.dtype) -> float:
    """Time for this much training arithmetic."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return flops / (matmul_flops_per_second(dtype) * EFFICIENCY[kind])


@cache
def memory_bytes_per_second() -> float:
    """How fast the device reads: the best of a few sums over an array that no cache holds."""
    cuda = torch.cuda.is_available()
    array = torch.ones(1 << (28 if cuda else 25), device="cuda" if cuda else "cpu")

    def once() -> float:
        start = time.perf_counter()
        array.sum().item()
        return time.perf_counter() - start

    once()
    return array.nbytes / min(once() for _ in range(5))


def forecast_token_seconds(
    *, layers: int, adapted: bool, flops: float, read_bytes: float, dtype: torch.dtype
) -> float:
    """Time to write one token in every row of a batch.

    Args:
        layers: of the model.
        adapted: whether an unmerged adapter is computed beside each.
        flops: arithmetic over all rows.
        read_bytes: weights, and keys and values of all rows.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    waiting = layers * LAYER_SECONDS[kind] * (1.5 if adapted else 1.0)
    return waiting + max(forecast_seconds(flops, dtype), read_bytes / memory_bytes_per_second())
