"""The run as one HTML file: no network, no script, readable on a phone, in the dark and on paper."""

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from xinglin.report import curves, graph, mixture, preferences, selection, wording
from xinglin.report.findings import findings, leaked
from xinglin.report.summary import Summary, metrics_file, paired_tests, summarise
from xinglin.report.verdict import verdict
from xinglin.runtime import atomic
from xinglin.runtime.units import bytes_text, seconds_text

FILE = "report.html"
MAX_SAMPLES, MAX_OPEN_SAMPLES, MAX_ANSWER, MAX_EXAMPLE = 24, 3, 1200, 6000
_HERE = Path(__file__).parent
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def write(run_folder: Path) -> Path:
    """Write ``report.html`` into the run folder, whole or not at all, and return its path.

    Parts of the run that do not exist yet are left out; a failed stage is shown with its error.

    Raises:
        RunError: the folder holds no run.
        CheckpointError: an artifact or a metrics file is damaged.
    """
    summary = summarise(run_folder)
    page = (
        environment()
        .get_template("report.html.jinja")
        .render(
            say=wording,
            findings=findings,
            leaked=list(leaked(summary["leaked"], lambda model: wording.label(model, summary))),
            label=lambda model: wording.label(model, summary),
            bytes_text=bytes_text,
            seconds_text=seconds_text,
            run=summary,
            verdict=verdict(summary),
            css=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
            graphs={
                "wide": graph.svg(summary["stages"], graph.WIDE),
                "tall": graph.svg(summary["stages"], graph.TALL),
            },
            panels=panels(summary),
            curves=_curves(summary, run_folder),
            rewards=_rewards(summary),
            selections=selection.selections(summary),
            mixtures=mixture.mixtures(summary),
            samples=samples(summary),
            max_open_samples=MAX_OPEN_SAMPLES,
            examples=examples(summary),
            recipe=(run_folder / "recipe.yaml").read_text(encoding="utf-8"),
        )
    )
    target = run_folder / FILE
    atomic.write_text(target, page)
    return target


def environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["lang"] = language
    environment.filters["code"] = code
    return environment


def language(text: str) -> Markup:
    """A ``lang`` attribute for text with Chinese, so that browsers choose Chinese glyphs and line breaks."""
    return Markup(' lang="zh-Hans"') if _CHINESE.search(text) else Markup("")


def code(text: str) -> Markup:
    """Text with the words between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def panels(summary: Summary) -> list[dict[str, Any]]:
    """One panel per metric: a row per model with its number, its place on the scale, and its paired test."""
    metrics = wording.ordered({metric for model in summary["models"] for metric in model["metrics"]})
    return [_panel(metric, summary) for metric in metrics]


def _panel(metric: str, summary: Summary) -> dict[str, Any]:
    models = [model for model in summary["models"] if metric in model["metrics"]]
    entries = [model["metrics"][metric] for model in models]
    known = [v for entry in entries for v in (entry["value"], entry["high"]) if v is not None]
    top = 1.0 if wording.wording(metric).unit in ("share", "score") else max(known, default=0.0) * 1.05 or 1.0
    rows = []
    for model, entry in zip(models, entries, strict=True):
        low, high = (entry["value"] if entry[end] is None else entry[end] for end in ("low", "high"))
        place = [round(max(0.0, min(1.0, (v or 0.0) / top)) * 100, 2) for v in (low, entry["value"], high)]
        rows.append(
            {
                "model": model["name"],
                "entry": entry,
                "place": place,
                "tests": paired_tests(metric, model, summary),
            }
        )
    return {
        "metric": metric,
        "wording": wording.wording(metric),
        "chance": _chance(metric, summary),
        "scale": wording.amount(metric, top),
        "rows": rows,
    }


def _curves(summary: Summary, run_folder: Path) -> list[dict[str, Any]]:
    """Per training stage its charts, drawn; the loss chart first."""
    found = []
    for stage in summary["stages"]:
        path = metrics_file(run_folder, stage["name"])
        charts = curves.charts(curves.read(path)) if path else []
        if charts:
            drawn = [
                {"title": chart.title, "series": chart.series, "svg": curves.svg(chart)} for chart in charts
            ]
            found.append({"stage": stage, "charts": drawn})
    return found


def _rewards(summary: Summary) -> list[dict[str, Any]]:
    """Per reward model that was measured on held-out pairs, its numbers and drawings."""
    judged = [(stage["name"], stage["details"].get("reward", {})) for stage in summary["stages"]]
    return [
        {
            "stage": name,
            "judged": details,
            "margins": preferences.margins_svg(details),
            "calibration": preferences.calibration_svg(details),
        }
        for name, details in judged
        if "pairs" in details
    ]


def _chance(metric: str, summary: Summary) -> float | None:
    """What blind guessing gets on the exam that ``metric`` is the accuracy of."""
    label, _, score = metric.partition(".")
    for stage in summary["stages"]:
        for benchmark in stage["details"].get("benchmarks", []):
            if score == "accuracy" and benchmark["label"] == label:
                return benchmark["chance"]
    return None


def samples(summary: Summary) -> list[dict[str, Any]]:
    """Up to 24 questions in the order of the evaluations, benchmarks in turn; equal answers share a card."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for stage in summary["stages"]:
        for sample in stage["details"].get("samples", []):
            key = (sample["benchmark"], sample["id"])
            seen = merged.setdefault(key, sample | {"answers": {}, "correct": {}})
            seen["answers"] |= sample["answers"]
            seen["correct"] |= sample["correct"]
    by_benchmark: dict[str, list[dict[str, Any]]] = {}
    for sample in merged.values():
        by_benchmark.setdefault(sample["benchmark"], []).append(sample)
    turns = zip_longest(*by_benchmark.values())
    chosen = [sample for turn in turns for sample in turn if sample is not None][:MAX_SAMPLES]
    return [sample | {"cards": _cards(sample)} for sample in chosen]


def _cards(sample: dict[str, Any]) -> list[dict[str, Any]]:
    cards: dict[tuple[str, bool | float], dict[str, Any]] = {}
    for model, answer in sample["answers"].items():
        mark = sample["correct"][model]
        new = {"models": [], "answer": answer[:MAX_ANSWER], "left_out": max(0, len(answer) - MAX_ANSWER)}
        cards.setdefault((answer, mark), new | {"mark": _mark(sample, mark)})["models"].append(model)
    return list(cards.values())


def _mark(sample: dict[str, Any], mark: bool | float) -> dict[str, str]:
    """Exam answers are correct or wrong; free answers that a rule judges are proper or not; others have a score."""
    if not isinstance(mark, bool):
        return {"tone": "plain", "text": f"score {wording.number(mark)}"}
    good, bad = ("proper", "improper") if sample["benchmark"].startswith("safety") else ("correct", "wrong")
    return {"tone": "good", "text": f"✓ {good}"} if mark else {"tone": "bad", "text": f"✗ {bad}"}


def examples(summary: Summary) -> list[dict[str, Any]]:
    """The rendered training example of every stage that kept one; a conversation's comes first."""
    return [
        {"stage": stage["name"], "parts": list(_bounded(stage["details"]["example"]))}
        for stage in sorted(summary["stages"], key=lambda stage: stage["kind"] == "pretrain")
        if stage["details"].get("example")
    ]


def _bounded(parts: Iterable[tuple[str, bool]]) -> Iterable[tuple[str, bool]]:
    left = MAX_EXAMPLE
    for text, trained in parts:
        if left <= 0:
            return
        yield (text if len(text) <= left else text[:left] + "…"), trained
        left -= len(text)
