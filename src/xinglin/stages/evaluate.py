"""Measure models on held-out data, with intervals, and test each against the one before it."""

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, model_validator

from xinglin import plugins
from xinglin.config.base import DataInput, ModelInput, StageConfig
from xinglin.evaluate.predictions import Model, Predictions, num_requests
from xinglin.evaluate.runner import compare, evaluate, shown_samples
from xinglin.evaluate.task import PACKAGE, BenchmarkConfig, Positive, Task, build_task
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import Outcome, StageRun

if TYPE_CHECKING:
    from xinglin.engines import Engine

    Benchmark = BenchmarkConfig
else:
    _CONFIGS = tuple(plugins.load(PACKAGE, name).Config for name in plugins.names(PACKAGE))
    Benchmark = Annotated[Union[_CONFIGS], Field(discriminator="name")]  # noqa: UP007

PRODUCES = "evaluation"


class Config(StageConfig):
    """Measure models on held-out data."""

    models: list[ModelInput] = Field(default=[None], min_length=1)
    """Evaluated in order; each is compared with the one before it. Default: the nearest earlier model alone."""
    data: DataInput = None
    """The data set that has the splits. Default: the nearest earlier data stage."""
    benchmarks: list[Benchmark] = Field(min_length=1)
    """What to measure: a ``name``, a ``split`` and options each."""
    batch_tokens: Positive = 16384
    """Tokens in one batch, prompts and answers together. Changes speed and memory."""

    @model_validator(mode="after")
    def _distinct(self) -> "Config":
        titles = [benchmark.title for benchmark in self.benchmarks]
        for what, names in (("model", self.models), ("benchmark", titles)):
            if twice := [name for name in names if names.count(name) > 1]:
                cure = "give one a 'label'" if what == "benchmark" else "name it once"
                raise ValueError(f"{what} '{twice[0]}' twice; {cure}")
        return self


def run(config: Config, run: StageRun) -> Outcome:
    data = run.artifact(str(config.data))
    tasks = [_task(benchmark, data, run.seed) for benchmark in config.benchmarks]
    models = [_model(str(reference), config, data, run) for reference in config.models]
    predictions = Predictions(
        folder=run.cache / "predictions",
        settings=_settings(config),
        seed=run.seed,
        stop_requested=run.stop_requested,
    )
    results = []
    for model in models:
        with _progress(tasks, model.name) as advance:
            results.append(
                evaluate(model, tasks, predictions=predictions, folder=run.out / "samples", advance=advance)
            )
    details = {
        "models": [
            {"name": each.model.name, "stage_kind": each.model.stage_kind, "metrics": each.metrics}
            for each in results
        ],
        "comparisons": compare(results, tasks, seed=run.seed),
        "samples": shown_samples(results, tasks),
        "benchmarks": [_described(task) for task in tasks],
    }
    return Outcome("evaluation", results[-1].metrics, details)
