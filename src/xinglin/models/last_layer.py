"""The last layer computes what is read of it: nothing looks at its other positions any more.

For a reward model that is one token of each answer, for SFT and DPO the answers without the questions. Keys and values
are made of all positions; what follows attention, of those that are read. The numbers stay.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def is_pre_norm(layer: nn.Module) -> bool:
    """Whether ``layer`` adds attention, and then an MLP, to its input, each behind a norm: Qwen, Llama, Mistral."""
    parts = {name for name, _ in layer.named_children()}
    return parts == {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}


def narrow_last_layer(model: PreTrainedModel) -> bool:
    """Let forward passes of the backbone take ``read``, (M,) positions: its last hidden states are theirs, (1, M, H).

    Returns:
        Whether it does, exactly; an architecture whose layers are of another form stays as it is.
    """
    backbone: Any = model.base_model
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not is_pre_norm(layers[-1]):
        return False
    last: Any = layers[-1]
    last.forward = MethodType(_forward, last)
    if _is_exact(backbone):
        return True
    del last.forward
    return False


def _forward(
    layer: Any, hidden_states: Tensor, *others: Any, read: Tensor | None = None, **named: Any
) -> Any:
    if read is None:
        return type(layer).forward(layer, hidden_states, *others, **named)
    attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), asked=read, **named)
    rows = (hidden_states + attended)[:, read]
    return rows + layer.mlp(layer.post_attention_layernorm(rows))


@torch.no_grad()
def _is_exact(backbone: Any) -> bool:
    """Tried out, since layers with the same parts can add them up in other ways."""
    device = next(backbone.parameters()).device
    ids, read = torch.arange(4, device=device)[None], torch.tensor([1, 3], device=device)
    training = backbone.training
    backbone.eval()
    whole, rows = (
        backbone(input_ids=ids, use_cache=False, **more).last_hidden_state[0] for more in ({}, {"read": read})
    )
    backbone.train(training)
    return bool(torch.allclose(rows.float(), whole[read].float(), rtol=1e-2, atol=1e-3))
