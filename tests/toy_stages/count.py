"""Count in steps, one line of a file each; slow enough to be interrupted."""

import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from xinglin.config.base import DataInput, ModelInput, StageConfig
from xinglin.errors import Interrupted
from xinglin.runtime.progress import progress
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = ("model", "adapter")


class Config(StageConfig):
    model: ModelInput = None
    """What to start from."""
    data: DataInput = None
    """The words."""
    steps: Annotated[int, Field(gt=0)] = 3
    """How far to count."""
    rate: Annotated[float, Field(gt=0)] = 0.1
    """Read by nobody."""
    pause_seconds: float = 0.0
    """Waiting time of a step."""
    adapter: bool = False
    """Make an adapter."""


def produces(config: Config, kinds: dict[str, tuple[str, ...]]) -> str:
    return "adapter" if config.adapter else "model"


def plan(config: Config, run: StageRun) -> dict[str, str]:
    return {"steps": str(config.steps)}


def run(config: Config, run: StageRun) -> Outcome:
    counted = run.scratch / "counted.txt"
    done = _whole_lines(counted)
    with progress(config.steps, run.name) as bar, counted.open("a", encoding="utf-8") as file:
        bar.advance(len(done))
        for step in range(len(done), config.steps):
            if run.stop_requested():
                raise Interrupted
            time.sleep(config.pause_seconds)
            file.write(f"{run.seed + step}\n")
            file.flush()
            bar.advance(loss=1 / (step + 1))
    (run.out / "weights.txt").write_bytes(counted.read_bytes())
    return Outcome(produces(config, {}), details={"attempt_started_at": len(done)})


def _whole_lines(path: Path) -> list[str]:
    """The lines of earlier attempts; a last line that a kill cut short is removed from the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    text = text[: text.rfind("\n") + 1]
    path.write_text(text, encoding="utf-8")
    return text.splitlines()
