"""Evaluate models on tasks in order: samples, metrics, and paired tests of each model against an earlier one."""

import json
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from xinglin.evaluate.predictions import Model, Predictions
from xinglin.evaluate.statistics import (
    PairedTest,
    bootstrap_interval,
    holm,
    mcnemar,
    sign_flip,
    wilson_interval,
)
from xinglin.evaluate.task import Sample, Task, text_of
from xinglin.runtime import atomic
from xinglin.runtime.artifact import interval

MAX_SHOWN_SAMPLES = 24

Metrics = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Result:
    """One model's samples, by title of the task, in the order of its items."""

    model: Model
    samples: dict[str, list[Sample]]
    metrics: Metrics


def evaluate(
    model: Model,
    tasks: Sequence[Task],
    *,
    predictions: Predictions,
    folder: Path,
    advance: Callable[[int], None] = lambda done: None,
) -> Result:
    """Ask ``model`` all tasks and write ``<title>.<model>.jsonl`` for each into ``folder``."""
    loaded_once = replace(model, load=cache(model.load))
    samples, metrics = {}, {}
    for task in tasks:
        outputs = predictions.of(loaded_once, task, advance=advance)
        samples[task.title] = [
            Sample(item, output, task.benchmark.score(item, output, task.config))
            for item, output in zip(task.items, outputs, strict=True)
        ]
        rows = (json.dumps(sample.to_json(), ensure_ascii=False) for sample in samples[task.title])
        atomic.write_text(folder / f"{task.title}.{quote(model.name, safe='')}.jsonl", "\n".join(rows) + "\n")
        metrics |= measure(samples[task.title], title=task.title, seed=predictions.seed)
    return Result(model, samples, metrics)


def measure(samples: Sequence[Sample], *, title: str, seed: int) -> Metrics:
    """``title.score`` -> mean and 95 % interval, over the samples that have the score."""
    names = dict.fromkeys(name for sample in samples for name in sample.verdict.scores)
    metrics = {}
    for name in names:
        values = list(_values(samples, name).values())
        if isinstance(values[0], bool):
            bounds = wilson_interval(sum(map(bool, values)), trials=len(values))
        else:
            bounds = bootstrap_interval(values, seed=seed)
        metrics[f"{title}.{name}"] = interval(sum(values) / len(values), bounds.low, bounds.high)
    return metrics


def compare(
    results: Sequence[Result],
    tasks: Sequence[Task],
    *,
    against: Literal["previous", "first"] = "previous",
    seed: int,
) -> list[dict[str, Any]]:
    """A paired test of every compared score between each model and the one before it, or the first one.

    ``p`` is adjusted (Holm) for all of the tests together, ``p_alone`` is not. Wins are the samples on which the
    model is better than its baseline.
    """
    rows: list[dict[str, Any]] = []
    baselines = results if against == "previous" else [results[0]] * len(results)
    for baseline, result in zip(baselines, results[1:], strict=False):
        for task in tasks:
            before, after = baseline.samples[task.title], result.samples[task.title]
            for score, better in task.benchmark.COMPARED.items():
                if pairs := _values(before, score):
                    test = _paired_test(list(pairs.values()), list(_values(after, score).values()), seed)
                    names = {"baseline": baseline.model.name, "model": result.model.name}
                    metric = {"metric": f"{task.title}.{score}"}
                    rows.append(names | metric | _row(test, higher_is_better=better == "higher"))
    for row, p in zip(rows, holm([row["p_alone"] for row in rows]), strict=True):
        row["p"] = p
    return rows


def without_leaked(
    results: Sequence[Result], task: Task, leaked: Set[str], seed: int
) -> dict[str, Any] | None:
    """How many items of a task are in the training data, and the metrics of every model without them; None if none
    is. ``leaked`` are records as ``split:line``."""

    def clean(sample: Sample) -> bool:
        split, _, line = sample.item.id.rpartition(":")
        return f"{split}:{line.partition('.')[0]}" not in leaked

    num = sum(not clean(sample) for sample in results[0].samples[task.title])
    if not num:
        return None
    metrics = {
        each.model.name: measure(list(filter(clean, each.samples[task.title])), title=task.title, seed=seed)
        for each in results
    }
    return {"benchmark": task.title, "items": len(task.items), "leaked": num, "metrics": metrics}


def shown_samples(results: Sequence[Result], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """A few samples with the answers of all models, evenly spread over each task: none is picked for its looks."""
    rows = []
    for task in tasks:
        num = min(len(task.items), max(1, MAX_SHOWN_SAMPLES // len(tasks)))
        for index in (place * len(task.items) // num for place in range(num)):
            verdicts = {each.model.name: each.samples[task.title][index].verdict for each in results}
            rows.append(
                {
                    "benchmark": task.title,
                    "id": task.items[index].id,
                    "prompt": text_of(task.items[index].prompt),
                    "reference": task.items[index].reference,
                    "answers": {name: verdict.prediction for name, verdict in verdicts.items()},
                    "correct": {name: verdict.correct for name, verdict in verdicts.items()},
                }
            )
    return rows


def _values(samples: Sequence[Sample], score: str) -> dict[str, bool | float]:
    """Id -> value. Which samples have a score depends on the item alone, so models can be paired by order."""
    return {
        sample.item.id: sample.verdict.scores[score] for sample in samples if score in sample.verdict.scores
    }


def _paired_test(before: list[Any], after: list[Any], seed: int) -> PairedTest:
    return mcnemar(before, after) if isinstance(before[0], bool) else sign_flip(before, after, seed=seed)


def _row(test: PairedTest, *, higher_is_better: bool) -> dict[str, Any]:
    wins, losses = (test.higher, test.lower) if higher_is_better else (test.lower, test.higher)
    return {
        "difference": test.difference,
        "low": test.interval.low,
        "high": test.interval.high,
        "p_alone": test.p,
        "test": test.test,
        "n": test.n,
        "wins": wins,
        "losses": losses,
    }
