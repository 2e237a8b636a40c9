"""Reward model: score answers so that the chosen ones of preferences lie above the rejected ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from xinglin.config.parts import AtLeastZero, TrainingConfig
from xinglin.evaluate.preferences import judge_pairs
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import DISTRIBUTED, plan, require_records, sources

if TYPE_CHECKING:
    from xinglin.train.batches import Batches
    from xinglin.train.pairs import Pairs
    from xinglin.train.session import Session

__all__ = ["DISTRIBUTED", "PRODUCES", "Config", "check_records", "plan", "run", "sources"]

PRODUCES = "reward_model"


class Config(TrainingConfig):
    """Train on a split of preferences. A new score head takes the place of the language model's."""

    center: AtLeastZero = 0.01
    """Adds this times (chosen + rejected score)², which keeps scores near 0: the loss alone knows only differences."""
    margin: str | None = None
    """Key of a row that says by how much its chosen answer is better, as a number: the scores have to differ by that
    much. Answers that were ranked by scores have ``margin``, the difference of these."""

    @model_validator(mode="after")
    def _is_new(self) -> "Config":
        if self.continue_ == "same":
            raise ValueError(
                "continue: same means nothing to a reward model, whose head is new; leave it out"
            )
        return self


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that hold no preferences."""
    splits = [config.split, *config.eval_splits]
    require_records(splits, records, ("preference",), cure="name a split of preferences")


def run(config: Config, run: StageRun) -> Outcome:
    """Preferences in, a model that scores answers out."""
    from functools import partial

    from xinglin.models.score_head import add_score_head
    from xinglin.train.fit import train
    from xinglin.train.session import open_session

    session = open_session(config, run, head=partial(add_score_head, seed=run.seed))
    session.tokenizer.pad_token = session.tokenizer.convert_ids_to_tokens(session.core.config.pad_token_id)
    splits: dict[str, Pairs] = {}

    def batches_for(session: "Session", split: str, *, training: bool) -> "Batches":
        from xinglin.train.pairs import pair_batches, read_pairs

        splits[split] = read_pairs(session, split, margin=config.margin)
        return pair_batches(session, splits[split], split=split, center=config.center, training=training)

    outcome = train(session, batches_for)
    metrics, details = _judge(session, splits, config, run)
    return replace(
        outcome,
        kind=PRODUCES,
        metrics={**outcome.metrics, **metrics},
        details={**outcome.details, "reward": details},
    )


def _judge(
    session: "Session", splits: dict[str, "Pairs"], config: Config, run: StageRun
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scale of the finished model's scores, and what it is worth on the held-out pairs."""
    from xinglin.models.reward import write_scale
    from xinglin.report.preferences import plot
    from xinglin.train.rating import rate_pairs, usual_scale

    scale = usual_scale(session, splits[config.split])
    identical = {split: pairs.identical for split, pairs in splits.items()}
    details: dict[str, Any] = {"scale": scale._asdict(), "identical_pairs": identical}
    first = session.accelerator.is_main_process
    if first:
        write_scale(run.out, scale)
    if config.eval_split is None:
        return {}, details
    held = splits[config.eval_split]
    judged = judge_pairs(
        rate_pairs(session, held, label=f"scoring {config.eval_split}"),
        lengths=held.tokens,
        sources=held.sources,
        seed=run.seed,
    )
    if first:
        plot(judged, run.out / "reward.png")
    return _metrics(judged), {**details, "split": config.eval_split, **judged}


def _metrics(judged: dict[str, Any]) -> dict[str, Any]:
    measured = {name: judged[name] for name in ("accuracy", "margin")}
    return {
        **{f"reward.{name}": interval(e["value"], e["low"], e["high"]) for name, e in measured.items()},
        "reward.length_correlation": interval(judged["length"]["correlation"]),
        "reward.calibration_error": interval(judged["calibration"]["error"]),
    }
