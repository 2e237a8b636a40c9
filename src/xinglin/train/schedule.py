"""The learning rate as a function of the step."""

import math

from xinglin.config.parts import Optimizer


def warmup_steps(config: Optimizer, steps: int) -> int:
    """Steps of warm-up: ``warmup`` below 1 is a share of ``steps``."""
    return round(config.warmup * steps) if config.warmup < 1 else int(config.warmup)


def learning_rate(config: Optimizer, step: int, steps: int) -> float:
    """The rate of optimizer step ``step`` (from 0) of ``steps``; a run that turns out longer ends on the last rate."""
    warm = warmup_steps(config, steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    shape = _shape(config, min(step, steps), warm=warm, steps=steps)
    return config.learning_rate * (config.final_ratio + (1.0 - config.final_ratio) * shape)


def _shape(config: Optimizer, step: int, *, warm: int, steps: int) -> float:
    """From 1 at the end of the warm-up towards 0 at the end of the run."""
    progress = (step - warm) / max(1, steps - warm)
    match config.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "inverse_sqrt":  # arXiv 1706.03762
            return math.sqrt(max(warm, 1) / (step - warm + max(warm, 1)))
        case "wsd":  # the 1 - sqrt decay of arXiv 2405.18392
            decay = max(1, round(config.decay_share * steps))
            begun = step - max(warm, steps - decay)
            return 1.0 - math.sqrt(max(0, begun) / decay)
