"""Checkpoints that are whole or absent, and a resume that trusts only what verifies."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xinglin.errors import CheckpointError
from xinglin.runtime import atomic
from xinglin.runtime.artifact import sha256
from xinglin.train.sharding import at_rest, part, whole

MANIFEST = "manifest.json"
KEEP = 2


class Checkpoint(NamedTuple):
    weights: dict[str, Tensor]
    """The trainable parameters by name."""
    optimizer: dict[str, Any]
    """``optimizer`` and, for fp16, ``scaler``: their state dicts."""
    state: dict[str, Any]
    """Step, counters, best loss: what the loop needs besides."""


def trainable_weights(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """The trainable parameters by name, whole, on the CPU; tied ones once. Every process of a sharded model must ask;
    where not ``keep``, the answer is empty."""
    at_rest(model)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensor = whole(parameter.detach())
            if keep:
                found[name] = tensor.cpu().contiguous()
    return found


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy ``weights`` into the trainable parameters of the same names, or each process's part of them."""
    at_rest(model)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(part(tensor, of=parameters[name]))


def save(root: Path, checkpoint: Checkpoint) -> None:
    """Write ``root/step-N`` with a manifest of sizes and hashes, then remove all but the last two."""

    def fill(folder: Path) -> None:
        save_file(checkpoint.weights, folder / "weights.safetensors")
        torch.save(checkpoint.optimizer, folder / "optimizer.pt")
        (folder / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")
        _seal(folder)

    target = root / f"step-{checkpoint.state['step']:08d}"
    atomic.remove_folder(target)
    atomic.make_folder(target, fill)
    for old in steps(root)[:-KEEP]:
        atomic.remove_folder(old)


def _seal(folder: Path) -> None:
    manifest = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in folder.iterdir()
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def steps(root: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return sorted(root.glob("step-*")) if root.is_dir() else []


def newest(root: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that verifies, and a sentence for each newer one that does not."""
    complaints: list[str] = []
    for folder in reversed(steps(root)):
        fault = damage(folder)
        if fault is None:
            return folder, complaints
        complaints.append(f"{folder}: {fault}; it is left out")
    return None, complaints


def load(folder: Path) -> Checkpoint:
    """What ``save`` has written to ``folder``."""
    return Checkpoint(
        load_file(folder / "weights.safetensors"),
        torch.load(folder / "optimizer.pt", weights_only=True),
        json.loads((folder / "state.json").read_text(encoding="utf-8")),
    )


def damage(folder: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "its manifest is missing or damaged"
    for name, seen in manifest.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != seen["bytes"]:
            return f"{name} is missing or not of the size that was written"
        if sha256(path) != seen["sha256"]:
            return f"{name} is not the bytes that were written"
    return None


def save_best(folder: Path, weights: dict[str, Tensor], step: int) -> None:
    """Keep the trainable weights of ``step`` as the best so far."""

    def fill(aside: Path) -> None:
        save_file(weights, aside / "weights.safetensors", metadata={"step": str(step)})
        _seal(aside)

    atomic.remove_folder(folder)
    atomic.make_folder(folder, fill)


def load_best(folder: Path) -> tuple[dict[str, Tensor], int]:
    """The weights that ``save_best`` kept, and their step.

    Raises:
        CheckpointError: they are not the bytes that were written.
    """
    if fault := damage(folder):
        raise CheckpointError(f"{folder}: {fault}; delete {folder.parent} to train the stage again")
    with safe_open(folder / "weights.safetensors", "pt") as file:
        step = int(file.metadata()["step"])
    return load_file(folder / "weights.safetensors"), step
