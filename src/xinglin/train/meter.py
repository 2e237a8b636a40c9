"""Keeps the numbers of recent steps on the device and reads them together, so that steps need not wait."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xinglin.runtime import atomic


def peak_memory_bytes(device: torch.device) -> int:
    """Highest allocation so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Meter:
    """Rows of step numbers that wait on the device until ``read``."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []
        self._steps: list[int] = []
        self._started = time.perf_counter()
        self._tokens = 0

    def add(self, step: int, tokens: int, values: Mapping[str, Tensor]) -> None:
        """Scalars of one step; the names must be the same in every step."""
        self._names = list(values)
        self._rows.append(torch.stack([value.detach().float() for value in values.values()]))
        self._steps.append(step)
        self._tokens += tokens

    def read(self) -> tuple[list[tuple[int, dict[str, float]]], float]:
        """(step, values) of each step since the last call, and useful tokens per second over them."""
        rows = torch.stack(self._rows).tolist() if self._rows else []
        named = [
            (step, dict(zip(self._names, row, strict=True)))
            for step, row in zip(self._steps, rows, strict=True)
        ]
        now = time.perf_counter()
        speed = self._tokens / max(now - self._started, 1e-9)
        self._rows, self._steps, self._tokens, self._started = [], [], 0, now
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
        kept = [row for row in read_rows(self._path) if row["step"] <= resume_step]
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
