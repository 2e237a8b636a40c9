"""Measure models on held-out data, with intervals, and test each against an earlier one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, model_validator

from xinglin import engines, plugins
from xinglin.config.base import DataInput, ModelInput, StageConfig
from xinglin.config.parts import EngineName, Positive
from xinglin.errors import DataError
from xinglin.evaluate.predictions import Model, Predictions
from xinglin.evaluate.runner import compare, evaluate, shown_samples, without_leaked
from xinglin.evaluate.task import PACKAGE, BenchmarkConfig, Task, build_task
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.fingerprint import fingerprint, hash_model
from xinglin.runtime.progress import progress
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
    """Evaluated in order. Default: the nearest earlier model alone."""
    compare: Literal["previous", "first"] = "previous"
    """Which model each is tested against: the one before it, or the first (for several ways from one start)."""
    data: DataInput = None
    """The data set that has the splits. Default: the nearest earlier data stage."""
    benchmarks: list[Benchmark] = Field(min_length=1)
    """What to measure: a ``name``, a ``split`` and options each."""
    engine: EngineName = "transformers"
    """What answers: ``transformers``, or ``vllm`` where it is installed (docs/evaluation.md)."""
    batch_tokens: Positive = 16384
    """Tokens in one batch, prompts and answers together; with ``vllm`` those that its key-value cache has room for.
    Changes speed and memory."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model."""

    @model_validator(mode="after")
    def _distinct(self) -> "Config":
        models = Counter(self.models)
        titles = Counter(benchmark.title for benchmark in self.benchmarks)
        for what, names, cure in (
            ("model", models, "name it once"),
            ("benchmark", titles, "give one a label"),
        ):
            if twice := [name for name, count in names.items() if count > 1]:
                raise ValueError(f"{what} '{twice[0]}' is there twice; {cure}")
        return self


def check(config: Config, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse an engine that is not installed."""
    engines.require(config.engine)


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that a benchmark cannot ask."""
    for benchmark in config.benchmarks:
        takes = plugins.load(PACKAGE, benchmark.name).RECORD
        found = records.get(benchmark.split, takes)
        if found != takes:
            raise DataError(
                f"split '{benchmark.split}' holds {found}s, and benchmark '{benchmark.name}' asks {takes}s; "
                "name a split of them"
            )


def run(config: Config, run: StageRun) -> Outcome:
    """Models and a data set in; metrics, paired tests and one row per answer out."""
    data = run.artifact(str(config.data))
    tasks = [_task(benchmark, data, run.seed) for benchmark in config.benchmarks]
    predictions = Predictions(
        folder=run.cache / "predictions",
        settings={
            "batch_tokens": config.batch_tokens,
            **{name: metadata.version(name) for name in ("torch", "transformers")},
            config.engine: engines.version(config.engine),
        },
        seed=run.seed,
        stop_requested=run.stop_requested,
    )
    num = sum(task.num_requests for task in tasks)
    results = []
    for model in _models(config, data, run):
        with progress(num, f"evaluating {model.name}") as bar:
            results.append(
                evaluate(
                    model, tasks, predictions=predictions, folder=run.out / "samples", advance=bar.advance
                )
            )
    details = {
        "models": [
            {"name": each.model.name, "stage_kind": each.model.stage_kind, "metrics": each.metrics}
            for each in results
        ],
        "comparisons": compare(results, tasks, against=config.compare, seed=run.seed),
        "samples": shown_samples(results, tasks),
        "benchmarks": [_described(task) for task in tasks],
        "leaked": [row for task in tasks if (row := without_leaked(results, task, _leaked(data), run.seed))],
    }
    return Outcome(PRODUCES, results[-1].metrics, details)


def _leaked(data: Artifact) -> frozenset[str]:
    """Items, as ``split:line``, that the data stage found in what is trained on, and left there."""
    from xinglin.data.copies.leaks import FILE, leaked_items

    found = data.details.get("steps", {}).get("leaks")
    return frozenset(leaked_items(data.folder / FILE)) if found and found["mode"] == "report" else frozenset()


def _task(benchmark: BenchmarkConfig, data: Artifact, seed: int) -> Task:
    from xinglin.data.splits import read_split, split_file

    return build_task(benchmark, read_split(split_file(data, benchmark.split)), seed=seed)


def _models(config: Config, data: Artifact, run: StageRun) -> list[Model]:
    found = [_model(str(reference), config, data, run) for reference in config.models]
    names = [model.name for model in found]
    return [
        replace(model, name=str(reference)) if names.count(model.name) > 1 else model
        for model, reference in zip(found, config.models, strict=True)
    ]


def _model(reference: str, config: Config, data: Artifact, run: StageRun) -> Model:
    def load() -> "Engine":
        engine: Engine = plugins.load(engines.PACKAGE, config.engine).load(
            run.model(reference),
            batch_tokens=config.batch_tokens,
            tokenizer_folder=data.folder / "tokenizer",
            seed=run.seed,
            trust_remote_code=config.trust_remote_code,
        )
        return engine

    made = run.inputs[reference]
    if isinstance(made, Artifact):
        return Model(made.stage, made.stage_kind, made.fingerprint, load)
    # A tiny model takes its random weights from the seed and its tokenizer from the data set.
    tiny = {"seed": run.seed, "data": data.fingerprint} if made.startswith("tiny:") else {}
    return Model(made, "base", fingerprint({"model": hash_model(made), **tiny}), load)


def _described(task: Task) -> dict[str, Any]:
    chances = [item.chance for item in task.items if item.chance is not None]
    return {
        "label": task.title,
        "items": len(task.items),
        "chance": sum(chances) / len(chances) if chances else None,
        "options": task.config.model_dump(),
    }
