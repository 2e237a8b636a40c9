"""Merge adapters into a full model that any tool can load, or models with each other."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.base import MergeInput, ModelInput, StageConfig
from xinglin.errors import ModelError
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = ("model", "reward_model")
_PRUNED = ("ties", "dare_linear", "dare_ties")


class Config(StageConfig):
    """Merge the adapter ``model``, and those below it, in order; or ``models`` with ``model``, their base."""

    model: MergeInput = None
    """``method: stack``: the adapter, that of a reward model too, which stays one; default: the nearest earlier stage
    that makes a language model. Other methods: the model that all of ``models`` were trained from, often ``base``; for
    ``slerp``, the one to go out from."""
    method: Literal["stack", "linear", "slerp", "ties", "dare_linear", "dare_ties"] = "stack"
    """``stack`` adds adapters to their base and is exact. ``linear`` adds the weighted changes of several models to
    their base (arXiv 2212.04089); ``ties`` keeps the largest changes and those of the prevailing sign (arXiv
    2306.01708); ``dare_linear`` and ``dare_ties`` drop changes at random and enlarge the rest (arXiv 2311.03099);
    ``slerp`` goes from ``model`` towards one other along the arc between them."""
    models: list[ModelInput] = Field(default=[])
    """What is merged with ``model``: full models or adapters, for every method but ``stack``."""
    weights: list[float] = Field(default=[])
    """One for each of ``models``. Default: 1 / number of models for ``linear`` and ``dare_linear``, 1 for ``ties``
    and ``dare_ties``, 0.5 for ``slerp``."""
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of each model's changes that ``ties`` and ``dare`` keep. Default: 0.5."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the saved weights. Everything is computed in float32 first."""

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.method == "stack":
            if extra := [key for key in ("models", "weights", "density") if getattr(self, key)]:
                raise ValueError(f"{extra[0]} is not for method stack; choose another one, such as linear")
            return self
        if self.model is None:
            raise ValueError(
                f"method {self.method} needs model, what the models were trained from; often base"
            )
        if not self.models or None in self.models or (self.method == "slerp" and len(self.models) != 1):
            wanted = "one other model" if self.method == "slerp" else "at least one model"
            raise ValueError(f"method {self.method} needs {wanted} in models")
        if self.weights and len(self.weights) != len(self.models):
            raise ValueError(f"{len(self.weights)} weights for {len(self.models)} models; give one for each")
        if self.density is not None and self.method not in _PRUNED:
            raise ValueError(f"density is not for method {self.method}; leave it out")
        return self


def produces(config: Config, kinds: Mapping[str, tuple[str, ...]]) -> str:
    """What was merged: a reward model stays one."""
    return "reward_model" if kinds.get("model") == ("reward_model",) else "model"


def check(config: Config, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse to stack what is surely no adapter, and to blend what scores, before any work."""
    if config.method != "stack" and kinds.get("model") == ("reward_model",):
        raise ModelError(
            f"method {config.method} merges language models, and {config.model} is a reward model; use method stack"
        )
    if config.method == "stack" and kinds.get("model") == ("model",):
        raise ModelError(
            f"{config.model} is a full model already; name an adapter, or a method that merges full models"
        )


def run(config: Config, run: StageRun) -> Outcome:
    """Adapters or models in, a verified full model out."""
    return _stack(config, run) if config.method == "stack" else _blend(config, run)


def _stack(config: Config, run: StageRun) -> Outcome:
    import torch

    from xinglin.models.adapter import is_reward_model
    from xinglin.models.merge import merge_stack

    merged = merge_stack(run.model(config.model or "base"), run.out, dtype=getattr(torch, config.dtype))
    metrics = {
        "merge.max_logit_difference": interval(merged.max_logit_difference),
        "merge.adapter_effect": interval(merged.adapter_effect),
    }
    kind = "reward_model" if is_reward_model(run.out) else "model"
    return Outcome(kind, metrics, {"merge": {**merged._asdict(), "dtype": config.dtype}})


def _blend(config: Config, run: StageRun) -> Outcome:
    import torch

    from xinglin.models.blend import Recipe
    from xinglin.models.merge import merge_models

    count = len(config.models)
    each = {"slerp": 0.5, "ties": 1.0, "dare_ties": 1.0}.get(config.method, 1 / count)
    recipe = Recipe(config.method, tuple(config.weights or [each] * count), config.density or 0.5, run.seed)
    blend = merge_models(
        run.model(config.model or "base"),
        [run.model(model) for model in config.models if model],
        recipe,
        run.out,
        scratch=run.scratch / "models",
        dtype=getattr(torch, config.dtype),
    )
    distance, *others = blend.distances
    details = {
        "method": config.method,
        "weights": recipe.weights,
        "models": config.models,
        "distances": others,
    }
    return Outcome(
        "model", {"merge.distance": interval(distance)}, {"merge": details | {"dtype": config.dtype}}
    )
