"""What the work runs in: environment variables of libraries, versions, devices. Nothing else reads either."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

PACKAGES = ("xinglin", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy")


def library_variables(*, offline: bool) -> dict[str, str]:
    """The environment for processes that load models: quiet, and without network unless a hub is used.

    Args:
        offline: no model comes from a hub, so that a missing file is an error at once and not a time-out later.
    """
    variables = dict(os.environ)
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
