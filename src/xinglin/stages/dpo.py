"""DPO and its relatives: make chosen answers likelier than rejected ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.parts import Above, AtLeastZero, TrainingConfig
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import DISTRIBUTED, PRODUCES, check, plan, produces, require_records, sources

if TYPE_CHECKING:
    from xinglin.train.batches import Batches
    from xinglin.train.preference_losses import PreferenceLoss
    from xinglin.train.session import Session

__all__ = [
    "DISTRIBUTED",
    "PRODUCES",
    "Config",
    "check",
    "check_records",
    "plan",
    "produces",
    "run",
    "sources",
]

_NAMES = Literal[
    "sigmoid",
    "robust",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "apo_zero",
    "apo_down",
    "simpo",
    "orpo",
    "kto",
]
_BETAS = {"simpo": 2.0}
_ONLY_FOR = {
    "label_smoothing": ("sigmoid", "robust", "exo_pair", "simpo"),
    "gamma": ("simpo",),
    "desirable_weight": ("kto",),
    "undesirable_weight": ("kto",),
    "reference": ("sigmoid", "robust", "hinge", "ipo", "exo_pair", "nca_pair", "apo_zero", "apo_down", "kto"),
}


class Config(TrainingConfig):
    """Train on a split of preferences, or for ``kto`` of ratings. An adapter given as ``model`` is merged in first: it
    is the reference."""

    loss: _NAMES = "sigmoid"
    """``sigmoid``: DPO (arXiv 2305.18290). ``robust``: for a known share of wrong labels (2403.00409). ``hinge``: SLiC
    (2305.10425). ``ipo``: a margin to reach, not to exceed, per token (2310.12036). ``exo_pair`` (2402.00856),
    ``nca_pair`` (2402.05369), ``apo_zero`` and ``apo_down`` (2408.06266): other ties to the reference. ``kto``: each
    answer for itself, good or bad (2402.01306). Without reference: ``simpo`` (2405.14734) and ``orpo`` (2403.07691)."""
    beta: Above | None = None
    """Strength of the tie to the reference model: the lower, the further training may go. With ``simpo`` the scale of
    its rewards, with ``orpo`` the weight of the odds ratio, its lambda. Default 0.1; ``simpo`` 2.0."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The share of pairs whose order is taken to be wrong: with ``sigmoid`` (then cDPO) and ``simpo`` if wanted, with
    ``robust`` and ``exo_pair`` above 0."""
    gamma: AtLeastZero | None = None
    """``simpo``: the margin by which chosen answers are to win. Default: half of beta."""
    desirable_weight: Above | None = None
    """``kto``: weight of the chosen, or good, answers. Default 1."""
    undesirable_weight: Above | None = None
    """``kto``: weight of the rejected, or bad, answers. Default 1. Where there are many more of one sort, weights that
    make up for it are recommended: weight x number of the good ones 1 to 4/3 of that of the bad ones."""
    sft_weight: AtLeastZero | None = None
    """Adds this times the negative log-likelihood per token of the chosen answers (also known as ``pref_ftx``).
    Default 0; ``orpo`` 1, which is part of its definition."""
    reference: Literal["precomputed", "adapter_off"] | None = None
    """Where the reference's log-probabilities come from: one pass before training (``precomputed``, the default), or
    the model without its adapter at every step (``adapter_off``, ``tuning: lora`` only). Both give the same."""

    @model_validator(mode="after")
    def _fits_the_loss(self) -> "Config":
        for name, losses in _ONLY_FOR.items():
            if self.loss not in losses and getattr(self, name) != Config.model_fields[name].default:
                cure = f"leave it out, or use {' or '.join(losses)}"
                raise ValueError(f"{name} means nothing to loss {self.loss}; {cure}")
        if self.loss in ("robust", "exo_pair") and not self.label_smoothing:
            raise ValueError(f"loss {self.loss} needs label_smoothing above 0, e.g. 0.1")
        if self.reference == "adapter_off" and self.tuning != "lora":
            raise ValueError(f"reference adapter_off needs tuning lora; use precomputed with {self.tuning}")
        if self.reference == "adapter_off" and self.lora.init in ("pissa", "olora"):
            raise ValueError(
                f"reference adapter_off: lora.init {self.lora.init} changes what is below the adapter, so that it is "
                f"no reference; use precomputed"
            )
        return self

    def pair_loss(self) -> "PreferenceLoss":
        """The loss with its settings, defaults of its own filled in."""
        from xinglin.train.preference_losses import PreferenceLoss

        beta = self.beta or _BETAS.get(self.loss, 0.1)
        sft_weight = self.sft_weight
        return PreferenceLoss(
            self.loss,
            beta=beta,
            label_smoothing=self.label_smoothing,
            gamma=beta / 2 if self.gamma is None else self.gamma,
            desirable_weight=self.desirable_weight or 1.0,
            undesirable_weight=self.undesirable_weight or 1.0,
            sft_weight=float(self.loss == "orpo") if sft_weight is None else sft_weight,
        )


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that hold no preferences, or for ``kto`` ratings."""
    splits = [config.split, *config.eval_splits]
    takes, cure = ("preference",), "name a split of preferences"
    if config.loss == "kto":
        takes, cure = ("preference", "rating"), "name a split of preferences or ratings"
    elif "rating" in (records.get(split) for split in splits):
        cure += ", or set loss: kto"
    require_records(splits, records, takes, cure=cure)


def run(config: Config, run: StageRun) -> Outcome:
    """Preferences in, a model that prefers the chosen answers out."""
    from xinglin.train.fit import train
    from xinglin.train.preferences import preference_batches, rated_batches, telling_pairs
    from xinglin.train.session import open_session

    left_out: dict[str, int] = {}
    ratings: dict[str, dict[str, int]] = {}
    loss, precompute = config.pair_loss(), config.reference != "adapter_off"
    kinds = {
        name: split["record"] for name, split in run.artifact(config.data or "").details["splits"].items()
    }
    check_records(config, kinds)

    def batches_for(session: "Session", split: str, *, training: bool) -> "Batches":
        if kinds[split] == "rating":
            batches, ratings[split] = rated_batches(
                session, split, loss=loss, precompute=precompute, training=training
            )
            return batches
        shards, left_out[split] = telling_pairs(session, split)
        return preference_batches(session, shards, split, loss=loss, precompute=precompute, training=training)

    session = open_session(config, run)
    outcome = train(session, batches_for)
    facts = {"identical_pairs": left_out, "ratings": ratings, "shared_beginnings": session.share}
    return replace(outcome, details={**outcome.details, **facts})
