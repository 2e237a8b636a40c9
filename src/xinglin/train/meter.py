"""Keeps the numbers of recent steps on the device and reads them together, so that steps need not wait."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from xinglin.runtime import atomic


def peak_memory_bytes(device: torch.device) -> int:
    """Highest allocation so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


Values = Mapping[str, tuple[float, float]]
"""Name -> a sum and the number that it is divided by."""


def ratios(rows: Sequence[Values]) -> dict[str, float]:
    """Each number's mean over ``rows``; one that was divided by nothing is left out."""
    found: dict[str, tuple[float, float]] = {}
    for row in rows:
        for name, (value, weight) in row.items():
            before = found.get(name, (0.0, 0.0))
            found[name] = before[0] + value, before[1] + weight
    return {name: value / weight for name, (value, weight) in found.items() if weight}


class Sums:
    """Loss and metrics of one step, added up over its micro-batches and then over all processes."""

    def __init__(self, weight: float):
        self._weight = weight
        self._values: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def add(
        self, loss: Tensor, metrics: Mapping[str, Tensor | tuple[Tensor, Tensor]], share: float = 1.0
    ) -> None:
        """A micro-batch's sums times ``share``; a metric with a weight of its own comes as (sum, weight)."""
        for name, entry in {"loss": loss, **metrics}.items():
            value, weight = entry if isinstance(entry, tuple) else (entry, None)
            value = value.detach().double() * share
            self._values[name] = self._values[name] + value if name in self._values else value
            if weight is not None:
                weight = weight.detach().double() * share
                self._weights[name] = self._weights[name] + weight if name in self._weights else weight

    def over_processes(self, accelerator: Accelerator) -> dict[str, tuple[Tensor, Tensor]]:
        """Name -> (sum, weight), the same on every process."""
        if not self._values:
            return {}
        names = list(self._values)
        device = accelerator.device
        whole = torch.tensor(self._weight / accelerator.num_processes, dtype=torch.float64, device=device)
        pairs = torch.stack(
            [torch.stack([self._values[name].reshape(()), self._weights.get(name, whole)]) for name in names]
        )
        pairs = accelerator.reduce(pairs, "sum") if accelerator.num_processes > 1 else pairs
        return {name: (pair[0], pair[1]) for name, pair in zip(names, pairs, strict=True)}


class Meter:
    """Rows of step numbers that wait on the device until ``read``."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, list[str], Tensor]] = []
        self._started = time.perf_counter()
        self._tokens = 0

    def add(self, step: int, tokens: int, values: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """(sum, weight) of each number of one step."""
        flat = [part.detach().double().reshape(()) for pair in values.values() for part in pair]
        self._rows.append((step, list(values), torch.stack(flat)))
        self._tokens += tokens

    def read(self) -> tuple[list[tuple[int, Values]], float]:
        """(step, values) of each step since the last call, and useful tokens per second over them."""
        numbers = torch.cat([row for _, _, row in self._rows]).tolist() if self._rows else []
        named, start = [], 0
        for step, names, row in self._rows:
            part = numbers[start : start + len(row)]
            start += len(row)
            named.append((step, dict(zip(names, zip(part[::2], part[1::2], strict=True), strict=True))))
        now = time.perf_counter()
        speed = self._tokens / max(now - self._started, 1e-9)
        self._rows, self._tokens, self._started = [], 0, now
        return named, speed

    def restart_clock(self) -> None:
        """Leave what happened since the last ``add`` (an evaluation, a save) out of the speed."""
        if not self._rows:
            self._started = time.perf_counter()


class MetricsFile:
    """``metrics.jsonl`` and TensorBoard, append-only; a resumed run first forgets what came after its checkpoint."""

    def __init__(self, folder: Path, *, resume_step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / "metrics.jsonl"
        kept = [row for row in read_rows(self._path) if resume_step and row["step"] <= resume_step]
        atomic.write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "runs"), purge_step=resume_step + 1)

    def write(self, row: dict[str, Any]) -> None:
        """One row with ``kind`` (``train`` or ``eval``), ``step`` and numbers.

        A number that is not finite (a gradient norm that overflowed in fp16) is left out: JSON has none.
        """
        row = {
            name: value for name, value in row.items() if not isinstance(value, float) or math.isfinite(value)
        }
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "epoch"):
                self._board.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
