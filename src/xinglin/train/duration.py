"""How long training takes on this machine: arithmetic to do over a measured speed."""

import time
from functools import cache

import torch

EFFICIENCY = {"cuda": 0.5, "cpu": 0.55}
"""Share of the speed of one large matrix product that a training step reaches; measured, see benchmarks/."""


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
