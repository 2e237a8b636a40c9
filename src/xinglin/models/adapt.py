"""Decide which weights of a model are trained: all, a LoRA adapter, or the last layers."""

from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from xinglin.config.parts import Freeze, Lora
from xinglin.errors import ModelError


def train_all(model: PreTrainedModel) -> nn.Module:
    """Every weight, kept in float32 whatever the arithmetic of the products is."""
    return model.float().requires_grad_(True)


def add_lora(model: PreTrainedModel, config: Lora, *, seed: int) -> nn.Module:
    """A fresh adapter over a frozen base; it changes nothing until it is trained.

    Raises:
        ModelError: a target that no layer has.
    """
    peft_config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=config.targets,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            wrapped: Any = get_peft_model(model, peft_config)
        except ValueError as error:
            linear = sorted(
                {name.rsplit(".", 1)[-1] for name, part in model.named_modules() if type(part) is nn.Linear}
            )
            raise ModelError(
                f"lora.targets {config.targets}: {error}; this model's linear layers: {linear}"
            ) from error
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def freeze_all_but_last(model: PreTrainedModel, config: Freeze) -> nn.Module:
    """Train the last layers, what follows them, and the head.

    Raises:
        ModelError: the layers cannot be found, or are fewer than asked for.
    """
    model.requires_grad_(False)
    backbone = model.base_model
    lists = [part for part in backbone.children() if isinstance(part, nn.ModuleList)]
    if len(lists) != 1 or len(lists[0]) < config.trainable_layers:
        found = len(lists[0]) if len(lists) == 1 else 0
        raise ModelError(
            f"freeze.trainable_layers {config.trainable_layers}: the model has {found} layers to choose from"
        )
    children = list(backbone.children())
    last = list(lists[0])[-config.trainable_layers :]
    after = children[children.index(lists[0]) + 1 :]
    head = model.get_output_embeddings()
    for part in [*last, *after, *([head] if head is not None else [])]:
        part.float().requires_grad_(True)
    return model


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied ones count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trainable in sizes if trainable)
