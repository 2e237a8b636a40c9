"""Single kernels in place of several operations: Liger's on NVIDIA GPUs, torch.compile's anywhere."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from xinglin.errors import ModelError


def fusible() -> bool:
    """Whether Liger's kernels run here: they need a CUDA device and the package ``liger-kernel``."""
    return torch.cuda.is_available() and find_spec("liger_kernel") is not None


def fuse(model: PreTrainedModel) -> bool:
    """Replace norms, rotary embedding and gated MLP by Liger's kernels, where they run; the numbers stay.

    Returns:
        Whether anything was replaced: not for an architecture that Liger does not know.
    """
    if not fusible():
        return False
    liger: Any = import_module("liger_kernel.transformers.monkey_patch")
    if model.config.model_type not in liger.MODEL_TYPE_TO_APPLY_LIGER_FN:
        return False
    # The loss stays ours: it is made for trained tokens only.
    liger._apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
    return True


def compile_layers(model: PreTrainedModel) -> None:
    """Compile what does not depend on where sequences begin: each layer's norms and MLP, for any number of tokens."""
    for layer in decoder_layers(model):
        for name, part in layer.named_children():
            if "norm" in name or "mlp" in name:
                part.compile(dynamic=True)


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The stack of equal layers, whatever the architecture calls it.

    Raises:
        ModelError: there is none where transformers' decoders have it.
    """
    lists: Any = [part for part in model.base_model.children() if isinstance(part, nn.ModuleList)]
    if not lists:
        architecture = model.config.model_type
        raise ModelError(
            f"architecture '{architecture}': its layers are not found; use tuning: lora or full, without compile"
        )
    longest: nn.ModuleList = max(lists, key=len)
    return longest
