"""Several processes that train one model: how they find each other, agree, wait, and exchange rows.

Numbers of a step are summed over the devices (``meter.Sums``). What is decided, said or waited for goes over the
hosts, by the functions below: no device waits for it, and a process may take hours (to tokenise, say) while the
others wait. Each must be called by every process, in the same order. Alone, a process answers itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator

from xinglin.errors import TrainingError
from xinglin.runtime.environment import launch

DEVICE_TIMEOUT = timedelta(minutes=30)
HOST_TIMEOUT = timedelta(days=7)
"""Nothing waits that long for a process that failed: the run ends all of them (``runtime.together``)."""

T = TypeVar("T")


def open_accelerator(precision: str) -> Accelerator:
    """Join the other processes of this stage, if any, each on the GPU of its number where there are GPUs.

    Raises:
        TrainingError: the precision is not to be had on this device, or more processes than GPUs.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = launch()
    if here.processes > 1 and not dist.is_initialized():
        if gpus and here.local_rank >= gpus:
            raise TrainingError(
                f"process {here.rank} is number {here.local_rank + 1} on its machine, which has {gpus} GPUs; "
                f"start at most {gpus} there"
            )
        if gpus:
            torch.cuda.set_device(here.local_rank)
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=DEVICE_TIMEOUT)
    return Accelerator(mixed_precision=_mixed_precision(precision), cpu=not gpus)


def _mixed_precision(precision: str) -> str:
    if precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("precision fp16 needs a CUDA device; use bf16, fp32 or auto")
    if precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return {"fp32": "no"}.get(precision, precision)


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true in any process."""
    if not _several():
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX, group=_hosts())
    return bool(flags.item())


def by_first(make: Callable[[], T]) -> T:
    """What ``make`` returns in the first process, the only one that calls it, in all of them."""
    if not _several():
        return make()
    boxed = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(boxed, src=0, group=_hosts())
    return boxed[0]  # type: ignore[return-value]


def gather_rows(rows: list[T]) -> list[T]:
    """The rows of all processes in all of them, those of the first one first. Anything that pickle takes."""
    if not _several():
        return rows
    parts: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, rows, group=_hosts())
    return [row for part in parts for row in part]


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process runs the block before the others do, so that they find what it has made."""
    if _several() and dist.get_rank() > 0:
        wait()
        yield
    else:
        yield
        wait()


def wait() -> None:
    """Until every process is here."""
    if _several():
        dist.barrier(group=_hosts())


def _several() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


@cache
def _hosts() -> dist.ProcessGroup:
    """A group apart from that of the devices, with more patience."""
    group = dist.new_group(backend="gloo", timeout=HOST_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    return group
