"""LoRA adapters that know which weights they were trained on."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from xinglin.errors import ModelError
from xinglin.runtime import atomic
from xinglin.runtime.artifact import sha256

BASE_FILE = "base.json"
_WEIGHTS = (".safetensors", ".bin")
_IDS = ("hub:", "tiny:")
"""What a base that is no folder begins with."""


@dataclass(frozen=True)
class Base:
    """What an adapter was trained on: a full model, or the adapter below it in the stack."""

    spec: str
    """A path relative to the adapter's folder, or ``hub:`` / ``tiny:`` id."""
    fingerprint: str
    """Of the base's weights, see ``weights_fingerprint``."""
    seed: int = 0
    """Of a ``tiny:`` base."""

    def resolve(self, folder: Path) -> str:
        return self.spec if self.spec.startswith(_IDS) else os.path.normpath(folder / self.spec)


def is_adapter(spec: str | Path) -> bool:
    return (Path(spec) / "adapter_config.json").is_file()


def is_reward_model(spec: str | Path) -> bool:
    """Whether the folder ``spec`` holds a model that scores texts instead of writing them."""
    folder = Path(spec)
    if is_adapter(folder):
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return bool(settings.get("task_type") == "SEQ_CLS")
    if not (folder / "config.json").is_file():
        return False
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return any(name.endswith("ForSequenceClassification") for name in settings.get("architectures") or ())


def write_base(folder: Path, base: str, *, seed: int, final_folder: Path | None = None) -> None:
    """Record ``base`` (folder or id) beside the adapter in ``folder``.

    ``final_folder`` is where the adapter will live when ``folder`` is only its temporary place.
    """
    path = Path(base)
    spec = os.path.relpath(path, final_folder or folder) if path.is_dir() else base
    fingerprint = weights_fingerprint(base)
    atomic.write_text(folder / BASE_FILE, json.dumps(asdict(Base(spec, fingerprint, seed)), indent=2))


def read_base(folder: Path) -> Base:
    """The base of the adapter in ``folder``, checked against the weights that are there now.

    Raises:
        ModelError: no record, or the base's weights are not those that the adapter was trained on.
    """
    try:
        base = Base(**json.loads((folder / BASE_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        name = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))[
            "base_model_name_or_path"
        ]
        base = Base(name if Path(name).is_absolute() else f"hub:{name}", "")
    spec = base.resolve(folder)
    if not spec.startswith(_IDS) and not Path(spec).is_dir():
        raise ModelError(f"{folder}: its base model {spec} is not there; move it back or correct {BASE_FILE}")
    if base.fingerprint and weights_fingerprint(spec) != base.fingerprint:
        raise ModelError(
            f"{folder}: was trained on other weights than those now in {spec}; train it again or restore them"
        )
    return base


def weights_fingerprint(spec: str) -> str:
    """Hash of a folder's weight files, through the whole stack of adapters; of a ``hub:`` or ``tiny:`` id itself."""
    folder = Path(spec)
    if not folder.is_dir():
        return hashlib.sha256(spec.encode()).hexdigest()
    parts = [sha256(path) for path in sorted(folder.iterdir()) if path.suffix in _WEIGHTS]
    if is_adapter(folder) and (folder / BASE_FILE).is_file():
        parts.append(json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))["fingerprint"])
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def stack(spec: str) -> list[str]:
    """The full model and the adapters above it, lowest first, that end in ``spec``."""
    if not is_adapter(spec):
        return [spec]
    folder = Path(spec)
    return [*stack(read_base(folder).resolve(folder)), spec]
