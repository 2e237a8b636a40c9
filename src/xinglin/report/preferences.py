"""How a reward model tells answers apart, drawn: a histogram of its margins and its calibration."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from xinglin.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from xinglin.report.plots import EVAL, INK, TRAIN
from xinglin.runtime import atomic

Judged = dict[str, Any]
"""What ``evaluate.preferences.judge_pairs`` returns."""


def margins_svg(judged: Judged) -> Markup:
    """Pairs by margin as bars; those left of 0 are told apart wrongly."""
    edges, counts = judged["histogram"]["edges"], judged["histogram"]["counts"]
    x, y = scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT), scale(0, max(counts), HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, ticks(edges[0], edges[-1]), ticks(0, max(counts), 4))
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            side = "wrong" if right <= 0 else "right"
            parts.append(
                f'<rect class="{side}" x="{x(left) + 0.5:.1f}" y="{y(count):.1f}" width="{x(right) - x(left) - 1:.1f}" '
                f'height="{y(0) - y(count):.1f}"><title>margin {left:.3g} to {right:.3g}: {count} pairs</title></rect>'
            )
    label = f"Pairs by margin, chosen minus rejected score: {judged['accuracy']['value']:.1%} are above 0"
    return svg(parts, label)


def calibration_svg(judged: Judged) -> Markup:
    """Observed accuracy by claimed confidence, with intervals; on the diagonal the claims are true."""
    x, y = scale(0.5, 1, LEFT, WIDTH - RIGHT), scale(0, 1, HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [0, 0.25, 0.5, 0.75, 1.0])
    parts.append(f'<path class="ideal" d="M{x(0.5):.1f} {y(0.5):.1f}L{x(1):.1f} {y(1):.1f}"/>')
    for each in judged["calibration"]["bins"]:
        across = x(each["confidence"])
        text = f"claimed {each['confidence']:.1%}, right {each['value']:.1%} of {each['pairs']} pairs"
        parts.append(f'<path class="whisker" d="M{across:.1f} {y(each["low"]):.1f}V{y(each["high"]):.1f}"/>')
        parts.append(
            f'<circle class="dot" cx="{across:.1f}" cy="{y(each["value"]):.1f}" r="3"><title>{text}</title></circle>'
        )
    return svg(parts, f"Calibration: expected error {judged['calibration']['error']:.1%}")


def plot(judged: Judged, target: Path) -> None:
    """Both drawings as a PNG at ``target``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    edges, counts = judged["histogram"]["edges"], judged["histogram"]["counts"]
    colours = [TRAIN if edge <= 0 else EVAL for edge in edges[1:]]
    widths = [after - before for before, after in pairwise(edges)]
    left.bar(edges[:-1], counts, width=widths, align="edge", color=colours)
    left.set(xlabel="margin: chosen − rejected score", ylabel="pairs")
    bins = judged["calibration"]["bins"]
    right.plot([0.5, 1], [0.5, 1], color=INK, linewidth=0.8, linestyle=":")
    right.errorbar(
        [each["confidence"] for each in bins],
        [each["value"] for each in bins],
        yerr=[
            [each["value"] - each["low"] for each in bins],
            [each["high"] - each["value"] for each in bins],
        ],
        fmt="o",
        color=EVAL,
        markersize=3.5,
        linewidth=0.8,
    )
    right.set(
        xlabel="confidence: σ(|margin|)", ylabel="share that is right", xlim=(0.48, 1.02), ylim=(0, 1.05)
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic.write_bytes(target, image.getvalue())


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def frame(
    x: Callable[[float], float], y: Callable[[float], float], across: list[float], up: list[float]
) -> list[str]:
    parts = []
    for value in up:
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in across:
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>'
        )
    return [*parts, f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>']


def svg(parts: list[str], label: str) -> Markup:
    body = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{body}</svg>')
