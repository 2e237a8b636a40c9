"""The plots that training stages leave beside their weights."""

import io
from pathlib import Path
from typing import Any

from xinglin.report import curves
from xinglin.runtime import atomic

TRAIN, EVAL, INK = "#c2571f", "#1f6f8b", "#5b5f66"


def loss_plot(metrics_file: Path, target: Path) -> None:
    """Draw train loss (raw and smoothed), eval losses, learning rate and gradient norm to a PNG at ``target``.

    Raises:
        CheckpointError: the metrics file is damaged.
    """
    from matplotlib.figure import Figure

    rows = curves.read(metrics_file)
    train = [row for row in rows if row["kind"] == "train"]
    evals = [row for row in rows if row["kind"] == "eval"]
    # Figure without pyplot: no global state, no display, safe in any thread
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    loss, norm = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_loss(loss, train, evals)
    _draw_norm_and_rate(norm, train)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic.write_bytes(target, image.getvalue())


def rollout_plot(metrics_file: Path, target: Path) -> None:
    """Draw reward, distance from the reference and length of answers, of rollouts and evaluations, to a PNG.

    Raises:
        CheckpointError: the metrics file is damaged.
    """
    from matplotlib.figure import Figure

    rows = curves.read(metrics_file)
    rollouts = [row for row in rows if row["kind"] == "rollout"]
    evals = [row for row in rows if row["kind"] == "eval"]
    figure = Figure(figsize=(8, 6), dpi=130, layout="constrained")
    shown = {"reward": "reward", "kl": "KL, nats per answer", "answer_tokens": "tokens per answer"}
    for axes, (key, label) in zip(figure.subplots(3, 1, sharex=True), shown.items(), strict=True):
        line = curves.points(rollouts, key)
        _plot(axes, line, color=TRAIN, alpha=0.3, linewidth=0.9, label="rollouts")
        _plot(axes, curves.smooth(line), color=TRAIN, linewidth=1.8, label="rollouts, smoothed")
        _plot(axes, curves.points(evals, key), color=EVAL, marker="o", markersize=3.5, label="evaluation")
        axes.set_ylabel(label)
        _tidy(axes)
    figure.axes[0].legend(frameon=False)
    figure.axes[-1].set_xlabel("step")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic.write_bytes(target, image.getvalue())


def _draw_loss(axes: Any, train: list[dict[str, Any]], evals: list[dict[str, Any]]) -> None:
    line = curves.points(train, "loss")
    _plot(axes, line, color=TRAIN, alpha=0.3, linewidth=0.9, label="train, each step")
    _plot(axes, curves.smooth(line), color=TRAIN, linewidth=1.8, label="train, smoothed")
    by_source = dict.fromkeys(key for row in train for key in row if key.startswith(curves.BY_SOURCE))
    for number, key in enumerate(by_source):
        name = key.removeprefix(curves.BY_SOURCE)
        label = (
            name if name.isascii() else f"source {number + 1}"
        )  # matplotlib's own font has Latin letters only
        _plot(axes, curves.smooth(curves.points(train, key)), color=f"C{number}", linewidth=0.9, label=label)
    splits = dict.fromkeys(row["split"] for row in evals)
    for split, style in zip(splits, ("-", "--", ":", "-.") * len(splits), strict=False):
        measured = curves.points((row for row in evals if row["split"] == split), "loss")
        _plot(axes, measured, color=EVAL, linestyle=style, marker="o", markersize=3.5, label=f"eval: {split}")
    axes.set_ylabel("loss")
    _tidy(axes)
    if axes.get_lines():
        axes.legend(frameon=False, fontsize="small" if by_source else None)


def _draw_norm_and_rate(axes: Any, train: list[dict[str, Any]]) -> None:
    _plot(axes, curves.points(train, "grad_norm"), color=INK, linewidth=1.0)
    axes.set_ylabel("gradient norm")
    axes.set_xlabel("step")
    _tidy(axes)
    rate = axes.twinx()
    _plot(rate, curves.points(train, "learning_rate"), color=EVAL, linewidth=1.2)
    rate.set_ylabel("learning rate", color=EVAL)
    rate.tick_params(axis="y", colors=EVAL)
    rate.spines[["top"]].set_visible(False)


def _plot(axes: Any, line: curves.Points, **style: Any) -> None:
    if line:
        axes.plot(*zip(*line, strict=True), **style)


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e3de", linewidth=0.7)
