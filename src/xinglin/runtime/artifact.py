"""What a stage leaves behind: a folder with ``artifact.json``, written last, so its presence means finished."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xinglin.errors import CheckpointError, RunError

FILE = "artifact.json"


@dataclass(frozen=True)
class Artifact:
    """A finished stage.

    ``metrics`` maps a dotted, stable name to ``{"value", "low", "high"}`` (95 % interval; low and high are
    None where no interval makes sense). ``details`` is what the report shows beside them; see each stage.
    """

    folder: Path
    stage: str
    """Its name in the recipe."""
    kind: str
    """``dataset``, ``model``, ``adapter``, ``reward_model`` or ``evaluation``."""
    stage_kind: str
    """The stage's ``kind`` in the recipe: ``data``, ``sft``, …"""
    fingerprint: str
    """Hash of config, input fingerprints and code version: equal means the same work."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Config field -> stage name, folder or model id that it was resolved to."""
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""
    """ISO 8601, UTC."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Relative path -> ``{"bytes", "sha256"}``."""

    @staticmethod
    def load(folder: Path) -> "Artifact":
        """Read ``folder/artifact.json``.

        Raises:
            RunError: the folder is no finished artifact.
            CheckpointError: the file is not what was written.
        """
        try:
            row = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return Artifact(folder=folder, **row)
        except FileNotFoundError:
            raise RunError(
                f"{folder}: no {FILE}, so no finished stage; run the recipe again to finish it"
            ) from None
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{folder / FILE}: damaged ({error}); delete the folder to run the stage again"
            ) from None

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        del row["folder"]
        return row

    def verify(self) -> None:
        """Compare every file with the size and hash that were recorded.

        Raises:
            CheckpointError: a file is missing or its bytes have changed.
        """
        for name, seen in self.files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != seen["bytes"] or sha256(path) != seen["sha256"]:
                raise CheckpointError(
                    f"{path}: not the bytes that stage '{self.stage}' wrote; delete {self.folder} to make it again"
                )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def interval(value: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    """A metric as artifacts store it."""
    return {"value": value, "low": low, "high": high}
