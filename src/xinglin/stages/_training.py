"""What the training stages share: the artifact that they make, and what they will take."""

from xinglin.config.parts import TrainingConfig
from xinglin.data.templates import load_template
from xinglin.runtime.stage_run import StageRun

PRODUCES = ("model", "adapter")


def produces(config: TrainingConfig) -> str:
    """The kind of artifact that a training stage makes."""
    return "adapter" if config.tuning == "lora" else "model"


def sources(config: TrainingConfig) -> dict[str, str]:
    """The packaged template, if the config names one; an unknown name is refused."""
    return {"template": load_template(config.template)} if config.template else {}


def plan(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Tokens and a forecast of memory, for ``--dry-run``."""
    from xinglin.train.forecast import describe

    return describe(config, run)
