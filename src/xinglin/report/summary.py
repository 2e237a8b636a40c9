"""The one place where a run folder becomes plain data, for ``xinglin show``, its ``--json`` and the page."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from xinglin.config.load import load_document
from xinglin.errors import RunError
from xinglin.report import wording
from xinglin.report.mixture import advice
from xinglin.runtime.artifact import FILE, Artifact
from xinglin.runtime.directory import RunFolder, WorkFolder
from xinglin.runtime.units import seconds_text

Summary = dict[str, Any]


def summarise(run_folder: Path) -> Summary:
    """Everything that is known about a run, as JSON-serialisable data.

    Keys: ``name``, ``recipe`` (resolved), ``seconds``, ``stages`` in recipe order (``status`` is ``finished``,
    ``unfinished`` or ``missing``; ``error`` is the text that a failed stage left), ``models`` (one row per
    evaluated model, with ``metrics``), ``comparisons`` (paired tests, each with its ``evaluation`` stage),
    ``leaked`` (benchmarks with items in the training data), ``data`` (accounting by data stage), ``environment``
    and ``reproduce`` (a command line).

    Raises:
        RunError: the folder holds no recipe, so no run was ever started in it.
        CheckpointError: an ``artifact.json`` is damaged.
    """
    recipe = _recipe(run_folder)
    run = RunFolder(run_folder)
    artifacts = {}
    stages = []
    for name, config in recipe["stages"].items():
        if (run.stage(name) / FILE).is_file():
            artifacts[name] = Artifact.load(run.stage(name))
            stages.append(_finished(artifacts[name]))
        else:
            stages.append(_unfinished(name, config, run.work(name)))
    evaluations = {name: a.details for name, a in artifacts.items() if a.kind == "evaluation"}
    place = f"{run_folder.resolve().parent.name}/{run_folder.resolve().name}"
    return {
        "name": run_folder.resolve().name,
        "recipe": recipe,
        "seconds": sum(stage["seconds"] or 0.0 for stage in stages),
        "stages": stages,
        "models": _models(evaluations),
        "comparisons": [
            {"evaluation": name, **row}
            for name, details in evaluations.items()
            for row in details.get("comparisons", [])
        ],
        "leaked": [row for details in evaluations.values() for row in details.get("leaked", [])],
        "data": {name: a.details for name, a in artifacts.items() if a.kind == "dataset"},
        "environment": _environment(list(artifacts.values())),
        "reproduce": f"xinglin run {place}/recipe.yaml --out {place}-again",
    }


def tables(summary: Summary) -> list[Table]:
    """For the terminal: what every stage did to the model, what it took, and where every row of data went."""
    metrics = wording.ordered({metric for model in summary["models"] for metric in model["metrics"]})
    first = [metric for metric in metrics if wording.wording(metric).headline] or metrics[:3]
    others = [metric for metric in metrics if metric not in first]
    found = [_model_table(summary, first)] if first else []
    found += [_other_table(summary, others)] if others else []
    found += [_stage_table(summary)]
    found += [
        _mixture_table(stage["name"], stage["details"]["mixture"])
        for stage in summary["stages"]
        if "mixture" in stage["details"]
    ]
    return found + [_data_table(name, data) for name, data in summary["data"].items()]


def paired_tests(metric: str, model: dict[str, Any], summary: Summary) -> list[dict[str, Any]]:
    """The paired tests of one of ``summary["models"]`` and a metric, the newest per baseline."""
    found = {
        row["baseline"]: row
        for row in summary["comparisons"]
        if (row["model"], row["metric"]) == (model["name"], metric)
        and row["evaluation"] in model["evaluations"]
    }
    return list(found.values())


def metrics_file(run_folder: Path, name: str) -> Path | None:
    """The metrics of a training stage, finished or not; None where it wrote none."""
    folder = RunFolder(run_folder)
    finished = (folder.stage(name) / FILE).is_file()
    path = (folder.stage(name) if finished else folder.work(name).out) / "metrics.jsonl"
    return path if path.is_file() else None


def _recipe(run_folder: Path) -> dict[str, Any]:
    path = run_folder / "recipe.yaml"
    if not path.is_file():
        raise RunError(
            f"{run_folder}: no recipe.yaml, so no run; give the folder that `xinglin run --out` made"
        )
    return load_document(path).plain()


def _finished(artifact: Artifact) -> dict[str, Any]:
    return {
        "name": artifact.stage,
        "kind": artifact.stage_kind,
        "artifact_kind": artifact.kind,
        "status": "finished",
        "error": None,
        "seconds": artifact.seconds,
        "finished": artifact.finished,
        "fingerprint": artifact.fingerprint,
        "inputs": {field: value.removeprefix("stage:") for field, value in artifact.inputs.items()},
        "metrics": artifact.metrics,
        "details": artifact.details,
    }


def _unfinished(name: str, config: dict[str, Any], work: WorkFolder) -> dict[str, Any]:
    error = work.error.read_text(encoding="utf-8").strip() if work.error.is_file() else ""
    return {
        "name": name,
        "kind": config["kind"],
        "artifact_kind": None,
        "status": "unfinished" if work.path.is_dir() else "missing",
        "error": error or None,
        "seconds": work.seconds_spent() or None,
        "finished": None,
        "fingerprint": None,
        "inputs": _references(config),
        "metrics": {},
        "details": {},
    }


def _references(config: dict[str, Any]) -> dict[str, str]:
    """The stages that a recipe's stage names as inputs; a list gives ``field.0``, ``field.1``, …"""
    found = {}
    for field, value in config.items():
        many = isinstance(value, list)
        entries = {f"{field}.{i}": entry for i, entry in enumerate(value)} if many else {field: value}
        for key, entry in entries.items():
            if isinstance(entry, str) and entry.startswith("stage:"):
                found[key] = entry.removeprefix("stage:")
    return found


def _models(evaluations: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per model. Evaluations of one model share a row unless they contradict each other."""
    rows: list[dict[str, Any]] = []
    for evaluation, details in evaluations.items():
        for model in details.get("models", []):
            row = next((row for row in rows if row["name"] == model["name"] and _agree(row, model)), None)
            if row is None:
                rows.append({**model, "evaluations": [evaluation]})
            else:
                row["evaluations"].append(evaluation)
                row["metrics"] = row["metrics"] | model["metrics"]
    return rows


def _agree(row: dict[str, Any], model: dict[str, Any]) -> bool:
    return all(row["metrics"].get(name, entry) == entry for name, entry in model["metrics"].items())


def _environment(artifacts: list[Artifact]) -> dict[str, Any]:
    """Versions and hardware; where stages ran under different ones, a list of all that were seen."""
    seen: dict[str, list[Any]] = {}
    for artifact in artifacts:
        for key, value in _flat(artifact.environment).items():
            values = seen.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in seen.items()}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


_COLOURS = {"better": "green", "worse": "red", "different": "default", "same": "dim"}


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _model_table(summary: Summary, metrics: list[str]) -> Table:
    """The headline metrics with intervals and tests: as much as 80 columns hold."""
    table = _table(
        "What every stage did to the model (95 % intervals, paired tests)", ("model",), tuple(metrics)
    )
    for model in summary["models"]:
        tests = {metric: paired_tests(metric, model, summary) for metric in metrics}
        baselines = dict.fromkeys(test["baseline"] for row in tests.values() for test in row)
        name = Text(wording.label(model["name"], summary))
        for baseline in baselines:
            name.append(f"\nvs {wording.label(baseline, summary)}", style="dim")
        table.add_row(name, *(_cell(metric, model, tests[metric], baselines) for metric in metrics))
    return table


def _cell(metric: str, model: dict[str, Any], tests: list[dict[str, Any]], baselines: Iterable[str]) -> Text:
    """Value and interval, then a line per baseline."""
    cell = _value(metric, model)
    cell.append(f" {wording.interval(metric, model['metrics'].get(metric, {}))}", style="not bold dim")
    by_baseline = {test["baseline"]: test for test in tests}
    for baseline in baselines:
        cell.append("\n")
        if test := by_baseline.get(baseline):
            difference = wording.amount(metric, test["difference"], unit=False, signed=True)
            style = f"not bold {_COLOURS[wording.judgement(test)]}"
            cell.append(f"{difference}, {wording.p_value(test['p'])}", style=style)
    return cell


def _value(metric: str, model: dict[str, Any]) -> Text:
    value = model["metrics"].get(metric, {}).get("value")
    unit = wording.wording(metric).unit == "share"
    return Text(wording.amount(metric, value, unit=unit), style="bold")


def _other_table(summary: Summary, metrics: list[str]) -> Table:
    models = [wording.label(model["name"], summary) for model in summary["models"]]
    table = _table("Other measures (▲▼ significant change)", ("",), tuple(models))
    for metric in metrics:
        table.add_row(metric, *(_marked(metric, model, summary) for model in summary["models"]))
    return table


def _marked(metric: str, model: dict[str, Any], summary: Summary) -> Text:
    """Value, and which way it moved if the first paired test is significant."""
    cell = _value(metric, model)
    for test in paired_tests(metric, model, summary)[:1]:
        judgement = wording.judgement(test)
        sign = " " if judgement == "same" else "▲" if test["difference"] > 0 else "▼"
        cell.append(f" {sign}", style=f"not bold {_COLOURS[judgement]}")
    return cell


def _stage_table(summary: Summary) -> Table:
    table = _table("Stages", ("stage", "state"), ("time", "steps", "tokens", "tokens/s", "loss"))
    for stage in summary["stages"]:
        state = "failed" if stage["error"] else stage["status"]
        colour = {"finished": "green", "failed": "red"}.get(state, "yellow")
        cells = [
            stage["name"],
            Text(state, style=colour),
            "–" if stage["seconds"] is None else seconds_text(stage["seconds"]),
        ]
        if train := stage["details"].get("train"):
            cells += [wording.count(train[key]) for key in ("steps", "tokens", "tokens_per_second")]
            cells += [wording.course(stage["details"])]
        table.add_row(*cells)
    return table


def _mixture_table(name: str, found: dict[str, Any]) -> Table:
    table = _table(
        f"Mixtures of stage {name}: nats per token", (), ("domain text", "domain loss", "general loss")
    )
    table.add_row("start", *(f"{found['start'][kind]:.4f}" for kind in ("domain", "general")))
    for run in found["runs"]:
        table.add_row(f"{run['share']:.0%}", f"{run['domain']:.4f}", f"{run['general']:.4f}")
    table.caption = Text(advice(found))
    table.caption_justify = "left"
    return table


def _data_table(name: str, data: dict[str, Any]) -> Table:
    right = ("rows in", "used", "quarantined", "removed", "tokens")
    table = _table(f"Data of stage {name}: rows in = used + quarantined", ("split", "source"), right)
    for split, row in data["splits"].items():
        tokens = wording.count(row["tokens"])
        if row.get("over_length") and row["over_length"]["dropped"]:
            tokens += f"\n{row['over_length']['dropped']} left out"
        if row.get("cut_from"):
            table.add_row(split, f"{row['records']} records of {row['cut_from']}", "", "", "", "", tokens)
        for index, source in enumerate(row["sources"]):
            rows = [wording.count(source[key]) for key in ("rows_in", "rows_used", "rows_quarantined")]
            rows[-1] += "".join(f"\n{times} {reason}" for reason, times in source["reasons"].items())
            # Text, not str: a path in brackets is no markup
            cells = (split, Text(source["path"])) if index == 0 else ("", Text(source["path"]))
            table.add_row(*cells, *rows, *((_removed(row), tokens) if index == 0 else ("", "")))
    return table


def _removed(split: dict[str, Any]) -> str:
    """Records that rules took out, in all and by reason."""
    reasons = [item for step in split.get("removed", {}).values() for item in step.items()]
    total = wording.count(sum(count for _, count in reasons))
    return "\n".join([total, *(f"{count} {reason}" for reason, count in reasons)])
