"""Try the heaviest forward and backward pass before training, and say what it took."""

import time
from itertools import islice
from typing import Any

import torch

from xinglin.runtime.units import bytes_text, seconds_text
from xinglin.train.batches import Batches, Ints
from xinglin.train.forecast import Outlook
from xinglin.train.meter import peak_memory_bytes

STEPS = 200
"""Steps whose micro-batches are looked at."""


def probe(model: Any, batches: Batches, expected: Outlook, *, accelerator: Any) -> dict[str, float]:
    """One pass over the micro-batch with the most tokens among the first steps; no weight changes.

    Returns:
        ``tokens`` of the pass, ``seconds``, and ``bytes`` at the peak; printed beside the forecast.
    """
    model.to(accelerator.device).train()
    indices, tokens, per_step = _heaviest(batches)
    times = []
    for _ in range(2):  # the first pass also prepares kernels
        start = time.perf_counter()
        packed = batches.pack(indices).to(accelerator.device)
        with accelerator.autocast():
            loss, _ = batches.objective.loss(model, packed, indices)
        loss.backward()
        model.zero_grad(set_to_none=True)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    found = {"tokens": tokens, "seconds": times[-1], "bytes": peak_memory_bytes(accelerator.device)}
    whole = times[-1] * per_step / tokens * len(batches.steps)
    print(
        f"probe: {tokens:,} tokens in one pass took {seconds_text(times[-1])} and {bytes_text(found['bytes'])} "
        f"(forecast {bytes_text(expected.peak)}); about {seconds_text(whole)} for {len(batches.steps):,} steps"
    )
    return found


def _heaviest(batches: Batches) -> tuple[Ints, int, float]:
    """The micro-batch, its tokens, and the mean tokens of a step and process."""
    best: tuple[int, Ints] | None = None
    total = count = 0
    for number in islice(range(len(batches.steps)), STEPS):
        try:
            step = batches.steps[number]
        except IndexError:
            break
        count += 1
        for indices in step.micro_batches[0]:
            size = sum(batches.pack(indices).lengths) if len(indices) else 0
            total += size
            if best is None or size > best[0]:
                best = size, indices
    assert best is not None, "a stage without steps"
    return best[1], best[0], total / count
