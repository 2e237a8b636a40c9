"""The answers of one rollout with all that the steps over it need: in memory, and as one file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xinglin.data.packing import Example, Ints
from xinglin.errors import CheckpointError
from xinglin.runtime import atomic


@dataclass
class Rollout:
    """S answers, those to the same prompt next to each other, M answer tokens in all."""

    ids: Tensor
    """(T,) int32: prompt and answer of every sequence, end to end."""
    lengths: Tensor
    """(S,) tokens of each sequence."""
    counts: Tensor
    """(S,) those of its answer, all above 0."""
    group: int
    """Answers per prompt."""
    stopped: Tensor
    """(S,) bool: it ended by itself."""
    scores: Tensor
    """(S,) float32, what each answer is worth."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """(M,) float32 numbers of every answer token: ``log_probs`` when it was drawn, ``advantages``, …"""
    facts: dict[str, Any] = field(default_factory=dict)
    """For the log: means, deviations, shares."""

    def __len__(self) -> int:
        return len(self.lengths)

    def example(self, index: int) -> Example:
        """Ids and mask of one sequence; its answer is trained."""
        end = int(self._ends[index])
        ids = self.ids[end - int(self.lengths[index]) : end].numpy()
        mask = np.zeros(len(ids), dtype=np.bool_)
        mask[len(ids) - int(self.counts[index]) :] = True
        return ids, mask

    def of(self, name: str, indices: Ints) -> Tensor:
        """``tokens[name]`` of these sequences, one after another, as ``Packed.targets`` has them."""
        parts = self.tokens[name].split(self.counts.tolist())
        return torch.cat([parts[index] for index in indices.tolist()] or [torch.zeros(0)])

    def __post_init__(self) -> None:
        self._ends = self.lengths.cumsum(0)

    def sums(self, numbers: Tensor) -> Tensor:
        """(S,) sums of (M,) numbers over each answer."""
        owners = torch.arange(len(self)).repeat_interleave(self.counts)
        return torch.zeros(len(self)).index_add(0, owners, numbers)

    def save(self, path: Path) -> None:
        """Write all of it to ``path``, whole or not at all."""
        named = {"ids": self.ids, "lengths": self.lengths, "counts": self.counts}
        named |= {"stopped": self.stopped, "scores": self.scores}
        named |= {f"tokens.{name}": tensor for name, tensor in self.tokens.items()}
        facts = json.dumps({"group": self.group, **self.facts})
        atomic.write_bytes(path, save(named, metadata={"facts": facts}))

    @staticmethod
    def load(path: Path) -> "Rollout":
        """
        Raises:
            CheckpointError: it is not there, or damaged.
        """
        try:
            with safe_open(path, "pt") as file:
                named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                facts = json.loads(file.metadata()["facts"])
        except (OSError, SafetensorError, ValueError) as error:
            raise CheckpointError(
                f"{path}: the rollout cannot be read ({error}); delete {path.parent.parent} to train the stage again"
            ) from None
        tokens = {
            name.removeprefix("tokens."): named.pop(name)
            for name in list(named)
            if name.startswith("tokens.")
        }
        return Rollout(**named, group=facts.pop("group"), tokens=tokens, facts=facts)


def mean_and_deviation(name: str, numbers: Tensor) -> dict[str, float]:
    """``{name: mean, name_std: deviation}`` for the log."""
    return {name: float(numbers.mean()), f"{name}_std": float(numbers.std(correction=0))}


def rounded(facts: Mapping[str, float]) -> dict[str, float]:
    """As the log has them."""
    return {name: round(value, 6) for name, value in facts.items()}
