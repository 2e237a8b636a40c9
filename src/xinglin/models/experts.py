"""Mixtures of experts: what a layer stores, and what of it a token passes through."""

from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from xinglin.config.parts import Lora
from xinglin.models.adapt import count_parameters
from xinglin.models.lora import add_lora

_NUMBERS = ("num_experts", "num_local_experts", "n_routed_experts")


class Experts(NamedTuple):
    """Sizes of a layer, on average over all layers: some may have no experts."""

    stored: float
    """Parameters."""
    active: float
    """Those of them that one token passes through."""
    linear: float
    """Those of them in plain linear layers, which are what can be quantised."""
    adapted: float
    """Weights of an adapter on it, per rank: how PEFT adapts experts depends on the architecture."""
    intermediate: int
    """Width between the two halves of all experts that a token passes through."""


def count_experts(config: Any) -> Experts | None:
    """From a transformers config, by building the model without weights; None: it has no experts."""
    number = next((getattr(config, name) for name in _NUMBERS if getattr(config, name, None)), 1)
    if number == 1:
        return None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=hasattr(config, "auto_map"))
    layers: Any = model.base_model.layers
    parameters = [(name, each.numel()) for name, each in layers.named_parameters() if each.ndim > 1]
    stored = sum(size for _, size in parameters)
    routed = sum(size for name, size in parameters if ".experts." in name)
    linear = sum(module.weight.numel() for module in layers.modules() if isinstance(module, nn.Linear))
    number_of_layers, used = len(layers), config.num_experts_per_tok
    _, adapted = count_parameters(add_lora(model, Lora(rank=1), seed=0))
    return Experts(
        stored / number_of_layers,
        (stored - routed * (1 - used / number)) / number_of_layers,
        linear / number_of_layers,
        adapted / number_of_layers,
        used * (getattr(config, "moe_intermediate_size", None) or config.intermediate_size) + _shared(config),
    )


def _shared(config: Any) -> int:
    """Width of the experts that every token passes through."""
    number = getattr(config, "n_shared_experts", None) or 0
    own = getattr(config, "shared_expert_intermediate_size", None) or 0
    return int(own or number * (getattr(config, "moe_intermediate_size", None) or 0))
