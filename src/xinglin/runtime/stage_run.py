"""What a stage is given to work with: its folders, its inputs, and whether it was asked to stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xinglin.runtime.artifact import Artifact


@dataclass(frozen=True)
class Outcome:
    """What a stage returns; the pipeline makes the artifact from it and from the files in ``run.out``."""

    kind: str
    """``dataset``, ``model``, ``adapter``, ``reward_model`` or ``evaluation``."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRun:
    """The surroundings of one stage.

    ``out`` becomes the artifact. ``scratch`` survives an interruption and is deleted on success: checkpoints go
    there. ``cache`` is shared by all stages of the run and content-addressed: its entries may vanish at any time.
    """

    name: str
    seed: int
    out: Path
    final: Path
    """Where ``out`` will stand once the stage is finished."""
    scratch: Path
    cache: Path
    base: str
    """The recipe's ``model``."""
    inputs: dict[str, "Artifact | str"]
    """Reference as written in the config (``stage:sft``, a path, …) -> artifact, or the model id itself."""
    stop_requested: Callable[[], bool] = lambda: False

    def artifact(self, reference: str) -> Artifact:
        found = self.inputs[reference]
        assert isinstance(found, Artifact), f"{reference} is no artifact"
        return found

    def model(self, reference: str) -> str:
        """Folder or id that ``models.load`` takes."""
        found = self.inputs[reference]
        return str(found.folder) if isinstance(found, Artifact) else found
