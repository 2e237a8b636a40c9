"""Losses by the share of domain text, drawn: the runs, the curves through them, and the share that they advise."""

import io
from pathlib import Path
from typing import Any

from markupsafe import Markup

from xinglin.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from xinglin.report.plots import EVAL, INK, TRAIN
from xinglin.report.preferences import frame, scale, svg
from xinglin.runtime import atomic

Found = dict[str, Any]
"""What ``probe_mixture`` leaves under ``mixture`` in the details of its artifact."""


def mixtures(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per stage that probed a mixture, what it found, said and drawn."""
    found = [(stage["name"], stage["details"].get("mixture")) for stage in summary["stages"]]
    return [
        {"stage": name, "found": details, "advice": advice(details), "charts": _charts(details)}
        for name, details in found
        if details
    ]


def advice(found: Found) -> str:
    """The proposal in a sentence."""
    proposal, splits = found["proposal"], found["splits"]
    allowed = f"{found['tolerance']:g} above the start"
    if proposal is None:
        return (
            f"No share that was tried keeps the general loss within {allowed}: try smaller ones, a lower learning "
            "rate, or a higher tolerance."
        )
    share = proposal["share"]
    at_the_end = (
        "" if share < max(each["share"] for each in found["runs"]) else ", the largest that was tried"
    )
    return (
        f"{share:.0%} of {splits['domain']}{at_the_end} ({proposal['low']:.0%} to {proposal['high']:.0%} without one "
        f"of the runs) keeps the general loss within {allowed}; mix: [{{split: {splits['general']}, "
        f"share: {1 - share:.2f}}}]."
    )


def _charts(found: Found) -> list[dict[str, Any]]:
    return [
        {"title": f"{kind.title()} loss", "svg": chart_svg(found, kind), "fit": found[kind]}
        for kind in ("domain", "general")
    ]


def chart_svg(found: Found, kind: str) -> Markup:
    """The domain loss or the general loss of every run by its share of domain text, with the curve."""
    curve = found[kind]["curve"]
    levels = [*(each[kind] for each in found["runs"]), *(loss for _, loss in curve), found["start"][kind]]
    margin = (max(levels) - min(levels)) * 0.08 or 0.1
    low, high = min(levels) - margin, max(levels) + margin
    x, y = scale(0, 1, LEFT, WIDTH - RIGHT), scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, [0, 0.25, 0.5, 0.75, 1.0], ticks(low, high))
    level = found["limit"] if kind == "general" else found["start"][kind]
    if low <= level <= high:
        parts.append(f'<path class="ideal" d="M{LEFT} {y(level):.1f}H{WIDTH - RIGHT}"/>')
    path = " ".join(f"{x(share):.1f},{y(loss):.1f}" for share, loss in curve)
    parts.append(f'<polyline class="line" points="{path}"/>')
    for each in found["runs"]:
        parts.append(
            f'<circle class="dot" cx="{x(each["share"]):.1f}" cy="{y(each[kind]):.1f}" r="3">'
            f"<title>{each['share']:.0%} domain text: {each[kind]:.4f}</title></circle>"
        )
    if proposal := found["proposal"]:
        parts.append(f'<path class="whisker" d="M{x(proposal["share"]):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    return svg(parts, f"{kind.title()} loss by share of domain text")


def plot(found: Found, target: Path) -> None:
    """Both as a PNG at ``target``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), dpi=130, layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("domain", "general"), strict=True):
        axes.plot(*zip(*found[kind]["curve"], strict=True), color=TRAIN, linewidth=1.6)
        runs = found["runs"]
        axes.plot([each["share"] for each in runs], [each[kind] for each in runs], "o", color=EVAL)
        level, label = found["start"][kind], "start"
        if kind == "general":
            level, label = found["limit"], "start + tolerance"
        axes.axhline(level, color=INK, linewidth=0.8, linestyle=":", label=label)
        if proposal := found["proposal"]:
            axes.axvline(
                proposal["share"], color=EVAL, linewidth=1.0, label=f"proposal {proposal['share']:.2f}"
            )
            axes.axvspan(proposal["low"], proposal["high"], color=EVAL, alpha=0.12, linewidth=0)
        axes.set(xlabel="share of domain text", ylabel=f"{kind} loss, nats per token", xlim=(0, 1))
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    atomic.write_bytes(target, image.getvalue())
