"""What the work runs in: environment variables of libraries, versions, devices. Nothing else reads either."""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from xinglin.errors import RunError

PACKAGES = ("xinglin", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy")
_GPUS = Path("/proc/driver/nvidia/gpus")
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_", "GROUP_", "ROLE_")


@dataclass(frozen=True)
class Launch:
    """Which of the processes that ``torchrun`` or ``accelerate launch`` started this one is."""

    rank: int = 0
    """0 leads: it plans, prints, and runs what is not shared."""
    processes: int = 1
    local_rank: int = 0
    """Number on its machine, and of its GPU there."""
    local_processes: int = 1
    address: str = "localhost"
    """The machine of the first process."""

    def variables(self, *, port: int) -> dict[str, str]:
        """What the libraries in a shared stage read; its processes meet at ``port`` of the first one's machine."""
        values = (self.rank, self.processes, self.local_rank, self.local_processes, self.address, port)
        return dict(zip(_PLACE, map(str, values), strict=True))


def launch(variables: Mapping[str, str] = os.environ) -> Launch:
    """The place of this process.

    Raises:
        RunError: there are several processes, but nothing says which this one is.
    """
    processes = int(variables.get("WORLD_SIZE") or 1)
    if processes == 1:
        return Launch()
    missing = [name for name in _PLACE[:-1] if name not in variables]
    if missing:
        raise RunError(
            f"WORLD_SIZE is {processes}, but {', '.join(missing)} are not set; start with torchrun"
        )
    rank, _, local_rank, local_processes, address = (variables[name] for name in _PLACE[:-1])
    return Launch(int(rank), processes, int(local_rank), int(local_processes), address)


def secret_of(variable: str) -> str | None:
    """The value of an environment variable that holds a key; None if it is not set. It is never shown."""
    return os.environ.get(variable)


def visible_gpus() -> int:
    """How many GPUs a process may use, asked of the system and not of torch, whose import takes seconds."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([name for name in chosen.split(",") if name.strip()])
    return len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0


def library_variables(*, offline: bool) -> dict[str, str]:
    """The environment for processes that load models: quiet, and without network unless a hub is used.

    It says nothing of other processes and their launcher: a stage has company only when its job says so, and
    precision and sharding are the recipe's.

    Args:
        offline: no model comes from a hub, so that a missing file is an error at once and not a time-out later.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in _PLACE and not name.startswith(_LAUNCHERS)
    }
    variables["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Asked through the driver's library, so that asking whether CUDA is there does not forbid to fork afterwards.
    variables["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    variables.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Waiting threads spin for microseconds, not milliseconds: nothing lost on an idle machine, and several times
    # faster on one that does anything else at the same time.
    variables.setdefault("GOMP_SPINCOUNT", "1000")
    # Packed batches differ in length, and oneDNN keeps compiled kernels for each: by default 1,024, a third of the
    # memory of a small run.
    variables.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    if offline:
        variables["HF_HUB_OFFLINE"] = "1"
    return variables


def prepare_vllm() -> None:
    """Have vLLM, which reads this when it is first imported, work in this process, quietly and telling nobody."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def describe_environment() -> dict[str, Any]:
    """Versions and hardware, as an artifact records them. Devices are named if torch is loaded already."""
    torch = sys.modules.get("torch")
    devices = []
    if torch is not None and torch.cuda.is_available():
        devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpu_threads": torch.get_num_threads() if torch is not None else None,
        "devices": devices,
        **{name: metadata.version(name) for name in PACKAGES},
    }
