"""When the loop does what, and how far it is."""

import math
from dataclasses import dataclass

from xinglin.config.parts import TrainingConfig

EVALUATIONS = 10
"""Of a run that does not say how often."""


@dataclass(frozen=True)
class Schedule:
    """When things happen, in optimizer steps."""

    log_every: int
    save_every: int
    eval_every: int | None
    keep_best: bool = False
    early_stop: int | None = None
    watch: str = "loss"
    """The measured number that ``keep_best`` and ``early_stop`` go by."""
    highest: bool = False
    """Whether more of it is better."""
    from_start: bool = False
    """Measure before the first step too."""


def evaluation_interval(config: TrainingConfig, *, steps: int) -> int:
    """Optimizer steps between two evaluations of a run of ``steps``."""
    return config.eval_every_steps or max(1, math.ceil(steps / EVALUATIONS))


@dataclass
class State:
    """What a checkpoint remembers besides weights and optimizer."""

    step: int = 0
    """Optimizer steps done."""
    epoch: float = 0.0
    tokens: int = 0
    trained_tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    """Of what the schedule watches."""
    best_step: int = 0
    evaluated: float | None = None
    """The same, at the last evaluation."""
    evaluated_step: int = 0
    evaluations_since_best: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    stopped_early: bool = False
