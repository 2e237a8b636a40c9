"""LLaMA Pro (arXiv 2401.02415): a deeper model that at first computes exactly what the shallower one does."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xinglin.errors import ModelError


def insert_layers(model: PreTrainedModel, layers: nn.ModuleList, *, count: int) -> list[nn.Module]:
    """Put ``count`` copies of layers of ``model`` into it, evenly, and return them.

    The last projections of attention and MLP are zero in a copy, so that it adds nothing to the residual stream.

    Args:
        layers: the list in ``model`` that holds its layers.

    Raises:
        ModelError: the architecture's layers have no such projections, or its outputs change.
    """
    before = _outputs(model)
    depth = len(layers)
    types = list(getattr(model.config, "layer_types", None) or [])
    copies = []
    for number in reversed(range(count)):  # from the end, so that positions before it stay
        place = (number + 1) * depth // count
        copy = deepcopy(layers[place - 1])
        for projection in _last_projections(copy, model.config.model_type):
            projection.requires_grad_(False)
            for parameter in projection.parameters():
                parameter.zero_()
        layers.insert(place, copy)
        if types:
            types.insert(place, types[place - 1])
        copies.append(copy)
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]
    model.config.num_hidden_layers = depth + count
    if types:
        model.config.layer_types = types
    if not torch.equal(_outputs(model), before):
        raise ModelError(_refusal(model.config.model_type, "new layers change what the model computes"))
    return copies[::-1]


def _last_projections(layer: Any, architecture: str) -> list[nn.Module]:
    found: list[Any] = [
        getattr(getattr(layer, part, None), name, None)
        for part, name in (("self_attn", "o_proj"), ("mlp", "down_proj"))
    ]
    if not all(isinstance(part, nn.Linear) for part in found):
        raise ModelError(
            _refusal(architecture, "its layers do not end in self_attn.o_proj and mlp.down_proj")
        )
    return found


def _refusal(architecture: str, reason: str) -> str:
    return (
        f"freeze.which new: architecture '{architecture}' cannot be expanded ({reason}); "
        f"Llama, Qwen and GLM-4 can; use which: last or first"
    )


@torch.no_grad()
def _outputs(model: PreTrainedModel) -> Tensor:
    ids = torch.arange(8, device=model.device)[None]
    training = model.training
    model.eval()
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    model.train(training)
    return logits
