"""Find how much domain text a mixture can have: short runs at several shares, a curve through them, a proposal."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from xinglin.config.base import AnySplit, TrainingSplit
from xinglin.config.mixing import Share
from xinglin.config.parts import AtLeastZero, Positive, TrainingConfig
from xinglin.errors import DataError
from xinglin.evaluate.mixture_curve import MIN_POINTS, Checked, critical_share, fit_checked
from xinglin.report import mixture as report
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import DISTRIBUTED, check, require_records, sources

__all__ = ["DISTRIBUTED", "LIBRARY", "PRODUCES", "Config", "check", "check_records", "plan", "run", "sources"]

PRODUCES = "evaluation"
LIBRARY = ("train",)
PLOT = "mixture.png"
DRAWN = 61
"""Points of a curve that the report joins."""
_MEANINGLESS = ("epochs", "max_steps", "batch_size", "keep_best", "early_stop", "eval_every_steps", "probe")


class Config(TrainingConfig):
    """Short runs from one model that differ in the share of domain text only."""

    like: Literal["pretrain", "sft"] = "pretrain"
    """Which stage the runs are short ones of: all tokens of conversations are trained, or their answers."""
    split: TrainingSplit = "train"
    """Domain text."""
    general: TrainingSplit
    """General text."""
    eval_split: AnySplit
    """Held-out domain text: what is to be learned."""
    general_eval: AnySplit
    """Held-out general text: what is to be kept."""
    shares: Annotated[list[Share], Field(min_length=MIN_POINTS)] = Field(default=[0.1, 0.3, 0.5, 0.7, 0.9])
    """Of domain text, of all tokens; one run each."""
    tokens: Positive = 10_000_000
    """Tokens of each run, the same for all but for steps that end with an epoch of the domain text."""
    batch_tokens: Positive = 65536
    """Tokens per optimizer step."""
    tolerance: AtLeastZero = 0.02
    """How much the general loss may be above that of the model at the start, in nats per token; 0.02 is 2 % of the
    perplexity. The proposal is the largest share within it."""

    @property
    def eval_splits(self) -> list[str]:
        return [self.eval_split, self.general_eval]

    @model_validator(mode="after")
    def _comparable(self) -> "Config":
        for key in _MEANINGLESS:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} means nothing here: every run has as many tokens; leave it out")
        if len({self.split, self.general, self.eval_split, self.general_eval}) < 4:
            raise ValueError(
                "split, general, eval_split and general_eval must be four splits; name each once"
            )
        if len(set(self.shares)) < len(self.shares):
            raise ValueError("shares: each needs one run only; name each once")
        return self


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that hold no text to read."""
    splits = [config.split, config.general, *config.eval_splits]
    kinds = ("document", "conversation")
    require_records(splits, records, kinds, cure="name a split of documents, or of conversations")


def plan(config: Config, run: StageRun) -> dict[str, str]:
    """What the runs take, for ``--dry-run``."""
    from xinglin.train.forecast import describe
    from xinglin.train.mixture_probe import settings_of_a_run

    runs = len(config.shares)
    lines = {"runs": f"{runs} of {config.tokens:,} tokens: {runs * config.tokens:,}"}
    found = describe(settings_of_a_run(config, tokens=config.tokens), run)
    if "memory" in found:
        lines["memory"] = found["memory"]
    if "time" in found:
        lines["time"] = f"{runs} runs of {found['time']}"
    return lines


def run(config: Config, run: StageRun) -> Outcome:
    """A model and two splits in; losses by share, the curves through them, and the share that they advise out."""
    from xinglin.train import processes
    from xinglin.train.corpus import Reading
    from xinglin.train.mixture_probe import Probe, run_share, settings_of_a_run

    _check_splits(config, run)
    train_all = config.like == "pretrain"
    readings = Reading(config.split, train_all=train_all), Reading(config.general, train_all=train_all)
    probe = Probe(
        settings_of_a_run(config, tokens=config.tokens), readings, (config.eval_split, config.general_eval)
    )
    shares = sorted(config.shares)
    runs = [run_share(probe, run, share, from_start=share == shares[0]) for share in shares]
    found: dict[str, Any] = {
        "splits": {"domain": config.split, "general": config.general},
        "tolerance": config.tolerance,
        "start": runs[0]["start"],
        "runs": runs,
        **_conclude(runs, tolerance=config.tolerance),
    }
    processes.by_first(lambda: report.plot(found, run.out / PLOT))
    proposal = found["proposal"]
    metrics = {}
    if proposal:
        metrics["mixture.share"] = interval(proposal["share"], proposal["low"], proposal["high"])
    return Outcome(PRODUCES, metrics, {"mixture": found})


def _conclude(runs: list[dict[str, Any]], *, tolerance: float) -> dict[str, Any]:
    """The two curves and the proposal; its range is that of the proposals without one of the runs."""
    shares = [each["share"] for each in runs]
    domain = fit_checked(shares, [each["domain"] for each in runs])
    general = fit_checked([1 - share for share in shares], [each["general"] for each in runs])
    drawn = np.linspace(min(shares), max(shares), DRAWN).tolist()
    limit = runs[0]["start"]["general"] + tolerance
    bounds = {"limit": limit, "low": min(shares), "high": max(shares)}
    best = critical_share(general.curve, **bounds)
    proposal = None
    if best is not None:
        others = [critical_share(curve, **bounds) for curve in general.without]
        known = [best, *(min(shares) if other is None else other for other in others)]
        proposal = {
            "share": best,
            "low": min(known),
            "high": max(known),
            "domain": domain.curve(best),
            "general": general.curve(1 - best),
        }
    return {
        "domain": _described(domain, [(share, share) for share in drawn]),
        "general": _described(general, [(share, 1 - share) for share in drawn]),
        "limit": limit,
        "proposal": proposal,
    }


def _described(checked: Checked, drawn: list[tuple[float, float]]) -> dict[str, Any]:
    """A curve as the report has it.

    Args:
        drawn: shares of domain text at which it is drawn, each with the share of the text that it is about.
    """
    curve = checked.curve
    return {
        "level": curve.level,
        "slope": curve.slope,
        "exponent": curve.exponent,
        "residual": checked.residual,
        "left_out": checked.left_out,
        "curve": [[round(share, 4), curve(own)] for share, own in drawn],
    }


def _check_splits(config: Config, run: StageRun) -> None:
    """Refuse splits that cannot be used, before a model is loaded.

    Raises:
        DataError: names the split.
    """
    from xinglin.data.splits import split_file

    data = run.artifact(config.data or "")
    for split in (config.split, config.general, *config.eval_splits):
        split_file(data, split)
    facts = data.details["splits"]
    check_records(config, {name: split["record"] for name, split in facts.items()})
    for split in (config.split, config.general):
        if facts[split]["held_out"]:
            raise DataError(f"split '{split}' is held out for evaluation; train on another one")
