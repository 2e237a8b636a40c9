"""Direct preference optimisation: make chosen answers likelier than rejected ones, close to the start."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from xinglin.config.parts import TrainingConfig
from xinglin.errors import TrainingError
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._training import PRODUCES, plan, produces, sources

if TYPE_CHECKING:
    from xinglin.data.shards import Shards
    from xinglin.train.objectives import ObjectiveProtocol
    from xinglin.train.session import Session

__all__ = ["PRODUCES", "Config", "plan", "produces", "run", "sources"]


class Config(TrainingConfig):
    """Train on a split of preferences. An adapter given as ``model`` is merged in first: it is the reference."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    """Strength of the tie to the reference model: the lower, the further training may go."""
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    """Adds this times the negative log-likelihood per token of the chosen answers (also known as ``pref_ftx``)."""
    reference: Literal["precomputed", "adapter_off"] = "precomputed"
    """Where the reference's log-probabilities come from: one pass before training, or the model without its
    adapter at every step (``tuning: lora`` only). Both give the same numbers."""


def run(config: Config, run: StageRun) -> Outcome:
    """Preferences in, a model that prefers the chosen answers out."""
    from xinglin.train.fit import split_batches, train
    from xinglin.train.objectives.dpo import Objective
    from xinglin.train.reference import reference_log_probs
    from xinglin.train.session import open_session

    if config.reference == "adapter_off" and config.tuning != "lora":
        raise TrainingError(
            f"reference adapter_off needs tuning lora; use reference precomputed with {config.tuning}"
        )

    def objective(session: "Session", shards: "Shards") -> "ObjectiveProtocol":
        if shards.group != 2:
            raise TrainingError(f"the split of stage '{run.name}' holds no preferences; name one that does")
        known = reference_log_probs(session, shards) if config.reference == "precomputed" else None
        return Objective(known, beta=config.beta, sft_weight=config.sft_weight)

    return train(open_session(config, run), partial(split_batches, objective=objective))
