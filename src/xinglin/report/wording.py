"""How numbers and metric names are said: the same words in the terminal, on the page and in the verdict."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

NARROW_SPACE = "\u202f"
"""Between a number and its unit: it never breaks, and never stretches."""

STAGE_TITLES = {
    "pretrain": "Pretraining",
    "sft": "SFT",
    "reward": "Reward model",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO",
    "rloo": "RLOO",
    "merge": "Merging",
}


@dataclass(frozen=True)
class Wording:
    """How one metric is named, written and judged."""

    label: str
    better: Literal["higher", "lower"] | None = None
    """None: the metric describes and does not judge, so no change of it is good or bad."""
    unit: Literal["share", "score", "characters", "number"] = "number"
    """A ``share`` and a ``score`` lie in 0..1; a share is written in percent, a score with three decimals."""
    headline: bool = False
    """Whether the verdict and the terminal's first table speak of it."""


METRICS = {
    "reward.accuracy": Wording("pairs told apart", "higher", "share"),
    "reward.margin": Wording("mean margin", None),
    "reward.length_correlation": Wording("score and length", None),
    "reward.calibration_error": Wording("calibration error", "lower", "share"),
    "exam.accuracy": Wording("exam accuracy", "higher", "share", headline=True),
    "safety.unsafe_rate": Wording("unsafe answers", "lower", "share", headline=True),
    "dialogue.rouge_l": Wording("dialogue ROUGE-L", "higher", "score", headline=True),
    "safety.control_rate": Wording("proper answers to controls", "higher", "share"),
    "exam.answered": Wording("exam questions answered", "higher", "share"),
    "exam.truncated": Wording("exam answers cut off", "lower", "share"),
    "dialogue.bleu_4": Wording("dialogue BLEU-4", "higher", "score"),
    "dialogue.rouge_1": Wording("dialogue ROUGE-1", "higher", "score"),
    "dialogue.rouge_2": Wording("dialogue ROUGE-2", "higher", "score"),
    "dialogue.mean_length": Wording("mean answer length", None, "characters"),
    "dialogue.reference_length": Wording("mean reference length", None, "characters"),
    "dialogue.truncated": Wording("answers cut off", "lower", "share"),
    "dialogue.shortened": Wording("histories cut to the window", None, "share"),
}
_BY_SCORE = {metric.partition(".")[2]: entry for metric, entry in METRICS.items()}


def wording(metric: str) -> Wording:
    """The wording of ``label.score``: a benchmark under another label keeps the score's wording and is named.

    An unknown score keeps its dotted name and is not judged.
    """
    label, _, score = metric.partition(".")
    if metric in METRICS or score not in _BY_SCORE:
        return METRICS.get(metric, Wording(metric))
    return replace(_BY_SCORE[score], label=f"{_BY_SCORE[score].label} ({label})")


def ordered(metrics: Iterable[str]) -> list[str]:
    """Headlines first, then the order above, then by name."""
    known = list(METRICS)
    places = {name: known.index(name) if name in METRICS else len(known) for name in metrics}
    return sorted(places, key=lambda name: (not wording(name).headline, places[name], name))


def amount(metric: str, value: float | None, *, unit: bool = True, signed: bool = False) -> str:
    """``93.1 %``, ``0.412``, ``87 characters``; a dash where nothing was measured."""
    if value is None or not math.isfinite(value):
        return "–"
    sign = "+" if signed and value >= 0 else ""
    kind = wording(metric).unit
    plain = {"share": f"{value * 100:.1f}", "score": f"{value:.3f}"}.get(kind) or number(value)
    text = (sign + plain).replace("-", "−")
    suffix = {"share": "%", "characters": "characters"}.get(kind, "")
    return f"{text}{NARROW_SPACE}{suffix}" if unit and suffix else text


def label(model: str, summary: dict[str, Any]) -> str:
    """What a model is called: its stage's name, or ``base`` for the one that the recipe starts from."""
    return "base" if model == summary["recipe"].get("model") else model


def interval(metric: str, entry: dict[str, Any]) -> str:
    """``[90.2, 95.4]``, or nothing where the metric has no interval."""
    if entry.get("low") is None or entry.get("high") is None:
        return ""
    return f"[{amount(metric, entry['low'], unit=False)}, {amount(metric, entry['high'], unit=False)}]"


def p_value(p: float | None) -> str:
    if p is None:
        return ""
    return f"p{NARROW_SPACE}<{NARROW_SPACE}0.001" if p < 0.001 else f"p{NARROW_SPACE}={NARROW_SPACE}{p:.3f}"


def judgement(comparison: dict[str, Any]) -> Literal["better", "worse", "different", "same"]:
    """What a paired test says at the 5 % level; ``different`` where the metric has no better end."""
    p, difference = comparison.get("p"), comparison.get("difference")
    if p is None or difference is None or p >= 0.05 or difference == 0:
        return "same"
    better = wording(comparison["metric"]).better
    if better is None:
        return "different"
    return "better" if (difference > 0) == (better == "higher") else "worse"


def course(details: dict[str, Any]) -> str:
    """From where to where a training stage went: the reward of answers where it learned from rewards, else the loss.

    ▲ and ▼ mark a change in held-out reward that a paired test finds significant.
    """
    train, learned = details["train"], details.get("rl", {})
    if reward := learned.get("reward_gain") or learned.get("reward"):
        before, after = reward["before"], reward["after"]
        sign = (" ▲" if after > before else " ▼") if reward.get("p", 1) < 0.05 else ""
        return f"reward {number(before)} → {number(after)}{sign}"
    return f"{number(train['first_loss'])} → {number(train['final_loss'])}"


def number(value: float | None) -> str:
    """About three significant digits, thousands grouped."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size < 0.001:
        return f"{value:.1e}"
    decimals = next((decimals for limit, decimals in ((1, 3), (10, 2), (100, 1)) if size < limit), 0)
    return f"{value:,.{decimals}f}"


def count(value: float | None) -> str:
    """``812``, ``12,480``, ``1.25 M``: a count of rows, tokens or parameters."""
    if value is None:
        return "–"
    for size, suffix in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.2f}{NARROW_SPACE}{suffix}"
    return f"{value:,.0f}"
