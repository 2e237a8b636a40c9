"""One model in several processes: whole in each (DDP), or a part of every weight in each (FSDP2).

Sharded, a layer's weights are put together when it runs and given up after it. A trained parameter is then a
``DTensor``, of which this process holds some rows; checkpoints and artifacts always hold whole tensors, so that they
do not depend on the number of processes.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from xinglin.models.packed import PackedModel

# Nothing here writes into what a model returns.
warnings.filterwarnings(
    "ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning
)


def shard(model: PackedModel, accelerator: Accelerator) -> None:
    """Keep only this process's part of every weight of ``model``, in place (ZeRO stage 3, arXiv 1910.02054).

    Decoder layers are put together one at a time, all else (embeddings, norm, head) for the whole pass, so that a head
    that is tied to the embeddings stays so, and ``PackedModel`` sees plain weights. Gradients are summed in float32.
    """
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    half = torch.bfloat16 if accelerator.mixed_precision == "bf16" else None
    # Casting inputs would cast the weights of the tokens, too; autocast does what is needed.
    policy = MixedPrecisionPolicy(
        param_dtype=half, reduce_dtype=torch.float32 if half else None, cast_forward_inputs=False
    )
    for layers in model.core.base_model.children():
        if isinstance(layers, nn.ModuleList):
            for layer in layers:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    # By default the first module to run takes itself for the root; a generation begins below the root.
    model._get_fsdp_state()._lazy_init()  # type: ignore[attr-defined]


def wrap(model: PackedModel, accelerator: Accelerator) -> Any:
    """What training calls in place of ``model``: its gradients are the mean over all processes."""
    if accelerator.num_processes == 1 or is_sharded(model):
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False, gradient_as_bucket_view=True)


def is_sharded(model: nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """``tensor`` with the rows of all processes; each of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, of: Tensor) -> Tensor:
    """What this process keeps of a whole ``tensor`` if it is spread as the parameter ``of``."""
    tensor = tensor.to(of.device, of.dtype)
    if not isinstance(of, DTensor):
        return tensor
    return distribute_tensor(tensor, of.device_mesh, of.placements, src_data_rank=None)


def whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state dict with whole tensors; each process must ask."""
    row: dict[str, Any] = _whole(optimizer.state_dict())
    return row


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return whole(value) if isinstance(value, Tensor) else value


def load_whole_state(optimizer: torch.optim.Optimizer, row: dict[str, Any]) -> None:
    """The reverse of ``whole_state``, with any number of processes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        state = {
            number: {
                name: part(value, of=parameters[number])
                if isinstance(value, Tensor) and value.shape == parameters[number].shape
                else value
                for name, value in values.items()
            }
            for number, values in row["state"].items()
        }
        row = {**row, "state": state}
    optimizer.load_state_dict(row)


def at_rest(model: nn.Module) -> None:
    """Give up what an evaluation has left put together, so that parameters are what the optimizer updates."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def put_together(model: nn.Module) -> Iterator[None]:
    """Within, every process has all weights of ``model`` and may run any part of it by itself, to generate."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shards:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in shards:
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


@contextmanager
def plain(model: nn.Module, *, keep: bool) -> Iterator[None]:
    """Within, ``model`` is as if it had never been sharded, with whole weights on the CPU, where ``keep``: to be saved.

    Each process must ask, also those that keep nothing.
    """
    if not is_sharded(model):
        yield
        return
    at_rest(model)
    owners = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
    ]
    kinds = [(module, type(module)) for module in model.modules() if isinstance(module, FSDPModule)]
    wholes: dict[nn.Parameter, nn.Parameter] = {}  # a tied one stays tied
    for _, _, parameter in owners:
        if parameter not in wholes:
            tensor = whole(parameter.detach())
            wholes[parameter] = (
                nn.Parameter(tensor.cpu(), requires_grad=parameter.requires_grad) if keep else parameter
            )
    if not keep:
        yield
        return
    for module, name, parameter in owners:
        setattr(module, name, wholes[parameter])
    for module, kind in kinds:
        module.__class__ = kind.__mro__[2]  # fully_shard puts two classes before it
    try:
        yield
    finally:
        for module, kind in kinds:
            module.__class__ = kind
        for module, name, parameter in owners:
            setattr(module, name, parameter)
