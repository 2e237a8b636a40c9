"""The weights that a model with an adapter stands for, one layer at a time, while it stays as it is."""

from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper
from torch import Tensor, nn

ADAPTER = "default"
"""The one that is trained."""


def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of every weight as a merged and saved model has them; of a tied one under both of its names.

    Merging and taking the adapter off again would change the weights by rounding. Here each layer gets back the
    very numbers that it had, before its merged weight is handed out. Other adapters on the same base do not count.
    """
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    yield from _weights(core, "")


def _weights(module: nn.Module, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(module, BaseTunerLayer):
        merged = _merged(module)
        yield from ((f"{name}.{key}", tensor) for key, tensor in merged.items())
        return
    if isinstance(module, AuxiliaryTrainingWrapper):
        wrapper: Any = module
        trained = isinstance(wrapper, ModulesToSaveWrapper)
        yield from _weights(wrapper.modules_to_save[ADAPTER] if trained else wrapper.token_adapter, name)
        return
    for key, parameter in module.named_parameters(recurse=False):
        yield f"{name}.{key}", parameter.detach()
    for key, child in module.named_children():
        yield from _weights(child, f"{name}.{key}" if name else key)


@torch.no_grad()
def _merged(layer: Any) -> dict[str, Tensor]:
    base = layer.get_base_layer()
    own = dict(base.named_parameters(recurse=False))
    before = {key: parameter.detach().clone() for key, parameter in own.items()}
    layer.merge(adapter_names=[ADAPTER])
    merged = {key: parameter.detach().clone() for key, parameter in own.items()}
    layer.unmerge()
    for key, parameter in own.items():
        parameter.copy_(before[key])
    return merged
