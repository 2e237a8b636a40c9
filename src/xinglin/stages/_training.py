"""What the training stages share: the artifact that they make, and what they will take."""

from xinglin.config.parts import TrainingConfig
from xinglin.runtime.stage_run import StageRun

PRODUCES = ("model", "adapter")


def produces(config: TrainingConfig) -> str:
    """The kind of artifact that a training stage makes."""
    return "adapter" if config.tuning == "lora" else "model"


def plan(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Tokens and a forecast of memory, for ``--dry-run``."""
    from xinglin.train.forecast import describe

    return describe(config, run)
