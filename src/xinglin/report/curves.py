"""The metrics of a training stage as curves: reading, smoothing, and drawing as inline SVG."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from xinglin.errors import CheckpointError
from xinglin.report.wording import number

Points = list[tuple[float, float]]

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 26
MAX_POINTS, MAX_TOOLTIPS = 240, 32
_NO_CURVE = {"kind", "step", "epoch", "split", "seconds", "tokens", "trained_tokens", "rollout"}
_NO_CURVE |= {"tokens_per_second", "memory_bytes"}  # the table of stages says these better
BY_SOURCE = "loss/"
"""What the names of losses of single sources of data begin with."""
_NAMES = {
    "loss": "Loss",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
}


@dataclass(frozen=True)
class Series:
    """One line. ``style`` is ``raw`` (light), ``line`` or ``eval`` (with a dot at every measurement)."""

    label: str
    style: str
    points: Points
    """(step, value), both finite."""


@dataclass(frozen=True)
class Chart:
    title: str
    series: list[Series]


def read(metrics_file: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``, without a last line that a killed process left half written.

    Raises:
        CheckpointError: any other line is no JSON.
    """
    lines = metrics_file.read_text(encoding="utf-8").splitlines()
    rows = []
    for index, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if index < len(lines) - 1:
                raise CheckpointError(
                    f"{metrics_file}:{index + 1}: damaged ({error}); run the stage again"
                ) from None
    return rows


def points(rows: Iterable[dict[str, Any]], key: str) -> Points:
    """(step, value) in order of steps; of a step that was run again after a resume, the last value."""
    values = {row["step"]: row[key] for row in rows if isinstance(row.get(key), int | float)}
    return sorted((step, value) for step, value in values.items() if math.isfinite(value))


def smooth(line: Points) -> Points:
    """Exponential moving average over about a thirtieth of the curve, without bias towards its start."""
    keep = 1 - 2 / (max(3.0, len(line) / 30) + 1)
    total = weight = 0.0
    out = []
    for step, value in line:
        total, weight = keep * total + value, keep * weight + 1
        out.append((step, total / weight))
    return out


def thin(line: Points, limit: int = MAX_POINTS) -> Points:
    """At most ``limit`` points, evenly spaced by rank, the first and the last among them."""
    if len(line) <= limit:
        return line
    return [line[round(i * (len(line) - 1) / (limit - 1))] for i in range(limit)]


def charts(rows: list[dict[str, Any]]) -> list[Chart]:
    """Loss first (raw, smoothed, and one line per eval split), then one chart for every other metric."""
    train = [row for row in rows if row["kind"] == "train"]
    rollouts = [row for row in rows if row["kind"] == "rollout"]
    evals = [row for row in rows if row["kind"] == "eval"]
    splits = list(dict.fromkeys(row["split"] for row in evals))
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in _NO_CURVE))
    front = [key for key in ("loss", "learning_rate", "grad_norm") if key in keys]
    found = []
    for key in front + [key for key in keys if key not in front]:
        series = _train_series(points(train, key) or points(rollouts, key), raw=key != "learning_rate")
        for split in splits:
            line = points((row for row in evals if row["split"] == split), key)
            series += [Series(split, "eval", line)] if line else []
        if series:
            found.append(Chart(_title(key), series))
    return found


def _title(key: str) -> str:
    if key.startswith(BY_SOURCE):
        return f"Loss of {key.removeprefix(BY_SOURCE)}"
    return _NAMES.get(key, _words(key))


def _words(key: str) -> str:
    first, *others = ("KL" if word == "kl" else word for word in key.split("_"))
    return " ".join([first[0].upper() + first[1:], *others])


def _train_series(line: Points, *, raw: bool) -> list[Series]:
    if not line:
        return []
    if not raw or len(line) < 8:
        return [Series("train", "line", line)]
    return [Series("logged", "raw", line), Series("smoothed", "line", smooth(line))]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten) within ``low .. high``."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def svg(chart: Chart) -> Markup:
    """The chart as an inline SVG of 340 x 190 units; colours come from the page's style sheet."""
    every = [point for series in chart.series for point in series.points]
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_low, y_high = _padded(min(y for _, y in every), max(y for _, y in every))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [_axes(place, ticks(x_low, x_high), ticks(y_low, y_high))]
    parts += [_line(series, place) for series in chart.series]
    label = escape(
        f"{chart.title} by step: "
        + ", ".join(f"{s.label} ends at {number(s.points[-1][1])}" for s in chart.series)
    )
    body = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{body}</svg>')


def _padded(low: float, high: float) -> tuple[float, float]:
    """Values of one sign keep a floor at zero when they come near it; a flat line gets some room."""
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    floor = 0.0 if 0 <= low < (high - low) * 0.5 else low - margin
    return floor, high + margin


def _axes(place: Any, x_ticks: list[float], y_ticks: list[float]) -> str:
    parts = []
    for value in y_ticks:
        _, y = place(0, value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick(value)}</text>'
        )
    for value in (value for value in x_ticks if value == int(value)):
        x, _ = place(value, 0)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{_tick(value)}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    return "".join(parts)


def _tick(value: float) -> str:
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def _line(series: Series, place: Any) -> str:
    shown = thin(series.points)
    places = [place(*point) for point in shown]
    if len(places) == 1:  # a line of one point is invisible
        places = [(places[0][0] - 5, places[0][1]), (places[0][0] + 5, places[0][1])]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="{series.style}" points="{path}"/>']
    if series.style != "raw":
        dots = thin(shown, MAX_TOOLTIPS)
        # an invisible dot carries the tooltip of a line without marks
        radius, name = (2.6, "dot") if series.style == "eval" else (6, "spot")
        for step, value in dots:
            x, y = place(step, value)
            title = escape(f"step {step:,.0f} · {series.label}: {number(value)}")
            parts.append(
                f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{title}</title></circle>'
            )
    return "".join(parts)
