"""Safetensors of models of any size, read and written one tensor at a time."""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from xinglin.errors import ModelError

SHARD_BYTES = 5_000_000_000
"""Of a file, as in transformers."""
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class TensorReader:
    """The weights in a model's folder.

    Raises:
        ModelError: there are no safetensors.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if (folder / INDEX).is_file():
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            files = sorted(set(index.values()))
        elif (folder / SINGLE).is_file():
            files = [SINGLE]
        else:
            raise ModelError(f"{folder}: no {SINGLE}; load and save the model with transformers once")
        self._files: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            opened: Any = safe_open(folder / file, "pt")
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                self._files[name] = opened
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def require_same_shapes(self, other: "TensorReader") -> None:
        """Refuse another model's weights if they are not the same set.

        Raises:
            ModelError: with the first name that differs.
        """
        for name in sorted({*self.shapes, *other.shapes}):
            mine, theirs = self.shapes.get(name), other.shapes.get(name)
            if mine != theirs:
                words = " and ".join(
                    "none" if shape is None else str(list(shape)) for shape in (mine, theirs)
                )
                why = "other vocabularies" if "embed" in name or "lm_head" in name else "other shapes"
                raise ModelError(
                    f"{self.folder} and {other.folder} cannot be merged, they have {why}: {name} is {words}"
                )


class TensorWriter:
    """Writes tensors of known shapes into files of at most ``SHARD_BYTES``; ``close`` reads them back."""

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], *, dtype: torch.dtype):
        self.folder, self.dtype = folder, dtype
        self._files = _share_out(shapes, dtype.itemsize)
        self._waiting: dict[str, Tensor] = {}
        self._left = {file: list(self._files.values()).count(file) for file in set(self._files.values())}
        self._checks: dict[str, int] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """A float tensor is cast to the writer's type; a file is written as soon as it is complete."""
        cast = (tensor.to(self.dtype) if tensor.is_floating_point() else tensor).contiguous()
        self._waiting[name] = cast
        self._checks[name] = _checksum(cast)
        file = self._files[name]
        self._left[file] -= 1
        if not self._left[file]:
            whole = {key: self._waiting.pop(key) for key in list(self._waiting) if self._files[key] == file}
            save_file(whole, self.folder / file, metadata={"format": "pt"})

    def close(self) -> None:
        """Write the index and compare every tensor on disk with what was added.

        Raises:
            ModelError: one is not the same.
        """
        if len(self._left) > 1:
            size = sum((self.folder / file).stat().st_size for file in self._left)
            index = {"metadata": {"total_size": size}, "weight_map": self._files}
            (self.folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
        written = TensorReader(self.folder)
        for name, expected in self._checks.items():
            if _checksum(written.read(name)) != expected:
                raise ModelError(
                    f"{self.folder}: {name} is not what was written; is the disk full or failing?"
                )


def _share_out(shapes: dict[str, tuple[int, ...]], itemsize: int) -> dict[str, str]:
    """Tensor name -> file name, in order."""
    numbers: dict[str, int] = {}
    number, used = 0, 0
    for name, shape in shapes.items():
        size = torch.Size(shape).numel() * itemsize
        if used and used + size > SHARD_BYTES:
            number, used = number + 1, 0
        numbers[name] = number
        used += size
    count = number + 1
    if count == 1:
        return dict.fromkeys(shapes, SINGLE)
    return {name: f"model-{number + 1:05d}-of-{count:05d}.safetensors" for name, number in numbers.items()}


def _checksum(tensor: Tensor) -> int:
    raw: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return zlib.crc32(raw)
