"""Several adapters on one base in memory: which of them can live there, and which one speaks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor

from xinglin.models.adapter import is_adapter, read_base, weights_fingerprint

HEADS = {"score", "classifier"}
"""What PEFT saves whole beside a sequence classifier's LoRA weights."""


def reason_apart(spec: str, *, base: str, seed: int) -> str | None:
    """Why the adapter in ``spec`` cannot live on a model loaded from ``base``; None: it can.

    ``seed`` is that of a ``tiny:`` base.
    """
    folder = Path(spec)
    if not is_adapter(spec):
        return "it is no adapter, but a full model"
    below = read_base(folder)
    if below.fingerprint != weights_fingerprint(base) or (base.startswith("tiny:") and below.seed != seed):
        return "its adapter was trained on another base"
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if set(settings["modules_to_save"] or ()) - HEADS or settings.get("trainable_token_indices"):
        return "its adapter has embeddings of its own"
    return None


def add_frozen_adapter(adapted: Any, folder: Path, *, name: str) -> dict[str, Tensor]:
    """Put the LoRA weights in ``folder`` beside the adapters of the PEFT model ``adapted``; none gets active.

    They take the type of the base, so that they also run without autocast. Returns the heads that were saved with
    them, by the name that their parameter has in the classifier.
    """
    config: Any = PeftConfig.from_pretrained(str(folder))
    config.modules_to_save, config.task_type, config.inference_mode = None, "CAUSAL_LM", True
    weights = load_file(folder / "adapter_model.safetensors")
    heads = {key: weights.pop(key) for key in list(weights) if "lora_" not in key}
    flags = {key: parameter.requires_grad for key, parameter in adapted.named_parameters()}
    before, dtype = adapted.base_model.active_adapters, adapted.get_base_model().dtype
    with torch.random.fork_rng():
        adapted.add_adapter(name, config)
    result: Any = set_peft_model_state_dict(adapted, weights, adapter_name=name)
    assert not result.unexpected_keys, result.unexpected_keys
    adapted.base_model.set_adapter(before)
    for key, parameter in adapted.named_parameters():
        if key not in flags:
            parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(flags.get(key, False))
    return {key.removeprefix("base_model.model."): head for key, head in heads.items()}


@contextmanager
def active_adapter(adapted: Any, name: str) -> Iterator[None]:
    """Within, only the adapter ``name`` of the PEFT model takes part; what is trained stays the same after it."""
    before = adapted.base_model.active_adapters
    flags = [(parameter, parameter.requires_grad) for parameter in adapted.parameters()]
    adapted.base_model.set_adapter(name, inference_mode=True)
    try:
        yield
    finally:
        adapted.base_model.set_adapter(before)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
