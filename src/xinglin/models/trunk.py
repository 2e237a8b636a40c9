"""Several adapters on one base in memory: which of them can live there, and which one speaks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors.torch import load_file
from torch import Tensor, nn

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
def using_adapter(model: nn.Module, name: str | None) -> Iterator[None]:
    """Within, only the adapter ``name`` counts; None: the base alone. What is trained stays as it is.

    PEFT's own switches also decide which adapter is trained.
    """
    layers: list[Any] = [
        each for each in model.modules() if isinstance(each, BaseTunerLayer | AuxiliaryTrainingWrapper)
    ]
    before = [(layer._active_adapter, layer._disable_adapters) for layer in layers]
    for layer in layers:
        known = name is not None and name in layer._get_available_adapters()
        layer._disable_adapters = not known
        if known:
            layer._active_adapter = [name]
    try:
        yield
    finally:
        for layer, (active, disabled) in zip(layers, before, strict=True):
            layer._active_adapter, layer._disable_adapters = active, disabled
