"""Merge adapters into a full model that any tool can load, and check that it answers the same."""

from typing import Literal

from xinglin.config.base import ModelInput, StageConfig
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "model"


class Config(StageConfig):
    """Merge the adapter ``model``, and those below it, in order."""

    model: ModelInput = None
    """The adapter. Default: the nearest earlier stage that makes a model."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the saved weights. Adapters are always merged in float32 first."""


def run(config: Config, run: StageRun) -> Outcome:
    """An adapter in, a verified full model out."""
    import torch

    from xinglin.models.merge import merge_stack

    check = merge_stack(run.model(config.model or "base"), run.out, dtype=getattr(torch, config.dtype))
    metrics = {
        "merge.max_logit_difference": interval(check.max_logit_difference),
        "merge.adapter_effect": interval(check.adapter_effect),
    }
    return Outcome("model", metrics, {"merge": {**check._asdict(), "dtype": config.dtype}})
