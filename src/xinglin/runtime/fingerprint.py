"""Equal fingerprints mean equal work, so a stage need not run again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from xinglin.runtime.artifact import sha256

_WHOLE_BYTES = 64 << 20
_EDGE_BYTES = 1 << 20


def fingerprint(parts: dict[str, Any]) -> str:
    """sha256 of the canonical JSON (sorted keys, no spaces) of ``parts``."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def hash_model(target: str) -> str:
    """What identifies a model: the name of a ``hub:`` or ``tiny:`` one, the content of a local folder.

    Files over 64 MiB count with their size and their first and last MiB: enough to tell two checkpoints apart
    without reading all of them at every start.
    """
    folder = Path(target).expanduser()
    if target.startswith(("hub:", "tiny:")):
        return target
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint({path.relative_to(folder).as_posix(): _hash_file(path) for path in files})


def _hash_file(path: Path) -> str:
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return sha256(path)
    with path.open("rb") as file:
        digest = hashlib.sha256(str(size).encode())
        digest.update(file.read(_EDGE_BYTES))
        file.seek(-_EDGE_BYTES, 2)
        digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()
