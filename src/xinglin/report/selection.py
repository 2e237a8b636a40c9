"""What a selection did, drawn: each score over a split, with what was chosen."""

import io
from pathlib import Path
from typing import Any

from markupsafe import Markup

from xinglin.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from xinglin.report.plots import EVAL, INK, TRAIN
from xinglin.report.preferences import frame, scale, svg
from xinglin.runtime import atomic

Drawn = dict[str, Any]
"""One score, as ``selection.summary.Summary.score`` returns it."""


def selections(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per stage that chose what to train on, its numbers and the drawings of its scores."""
    found = [(stage["name"], stage["details"].get("selection")) for stage in summary["stages"]]
    return [
        {
            "stage": name,
            "found": details,
            "charts": [
                {"title": title, "score": score, "svg": histogram_svg(title, score)}
                for title, score in details["scores"].items()
                if score["records"]
            ],
        }
        for name, details in found
        if details
    ]


def histogram_svg(title: str, score: Drawn) -> Markup:
    """Records by score as bars: the split, and in front what was chosen."""
    edges, whole, chosen = score["edges"], score["histogram"]["split"], score["histogram"]["chosen"]
    x, y = scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT), scale(0, max(whole), HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, ticks(edges[0], edges[-1]), ticks(0, max(whole), 4))
    for name, counts in (("whole", whole), ("right", chosen)):
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
            if count:
                parts.append(
                    f'<rect class="{name}" x="{x(left) + 0.5:.1f}" y="{y(count):.1f}" '
                    f'width="{x(right) - x(left) - 1:.1f}" height="{y(0) - y(count):.1f}">'
                    f"<title>{left:.3g} to {right:.3g}: {count} records</title></rect>"
                )
    return svg(parts, f"Records by {title}: the split, and what was chosen")


def plot(scores: dict[str, Drawn], target: Path) -> None:
    """The histograms of all scores as a PNG at ``target``."""
    from matplotlib.figure import Figure

    drawn = {title: score for title, score in scores.items() if score["records"]}
    figure = Figure(figsize=(8, 2.8 * len(drawn)), dpi=130, layout="constrained")
    panels = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for axes, (title, score) in zip(panels, drawn.items(), strict=True):
        edges, counts = score["edges"], score["histogram"]
        axes.stairs(counts["split"], edges, fill=True, color="#d9d5ce", label="split")
        axes.stairs(counts["chosen"], edges, fill=True, color=EVAL, alpha=0.8, label="chosen")
        if "random" in counts:
            axes.stairs(counts["random"], edges, color=TRAIN, linewidth=1.4, label="random, as many")
        axes.set_xlabel(title, color=INK)
        axes.set_ylabel("records", color=INK)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic.write_bytes(target, image.getvalue())
