"""Decide which weights of a model are trained: all, some layers, or new ones. Adapters are in ``lora``."""

import torch
from torch import nn
from transformers import PreTrainedModel

from xinglin.config.parts import Freeze
from xinglin.errors import ModelError
from xinglin.models.expansion import insert_layers
from xinglin.models.kernels import decoder_layers


def train_all(model: PreTrainedModel) -> nn.Module:
    """Every weight, kept in float32 whatever the arithmetic of the products is."""
    return model.float().requires_grad_(True)


@torch.no_grad()
def train_some_layers(model: PreTrainedModel, config: Freeze) -> nn.Module:
    """Train the last layers with what follows them, the first with what precedes them, or new ones in between.

    Raises:
        ModelError: the layers cannot be found, are fewer than asked for, or cannot be copied.
    """
    model.requires_grad_(False)
    backbone = model.base_model
    layers = decoder_layers(model)
    if len(layers) < config.trainable_layers:
        raise ModelError(
            f"freeze.trainable_layers {config.trainable_layers}: the model has {len(layers)} layers to choose from"
        )
    children = list(backbone.children())
    position, count = children.index(layers), config.trainable_layers
    match config.which:
        case "last":
            head = model.get_output_embeddings()
            trained = [*layers[-count:], *children[position + 1 :], *([head] if head is not None else [])]
        case "first":
            trained = [*children[:position], *layers[:count]]
        case "new":
            trained = insert_layers(model, layers, count=count)
    scores = [model.score] if hasattr(model, "score") else []  # new, so it is trained whatever else is
    for part in [*trained, *scores]:
        part.float().requires_grad_(True)
    return model


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied ones count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trainable in sizes if trainable)
