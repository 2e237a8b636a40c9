"""Load a causal language model: a local folder, a stack of adapters, ``hub:org/name`` or ``tiny:architecture``."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from xinglin.config.tiny import is_tiny
from xinglin.errors import ModelError
from xinglin.models.adapter import is_adapter, is_reward_model, read_base
from xinglin.models.quantized import quantization_config
from xinglin.models.tiny import build_tiny
from xinglin.models.tokenizer import load_tokenizer

SHOWN = 200
"""Characters of a library's error message."""


class Loaded(NamedTuple):
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def load_model(
    spec: str,
    *,
    tokenizer_folder: Path | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    quantization: str = "none",
    trust_remote_code: bool = False,
) -> Loaded:
    """The model that ``spec`` names, on the CPU, adapters merged in, in order.

    Args:
        spec: local folder (full model or adapter), ``hub:org/name`` or ``tiny:architecture``.
        tokenizer_folder: where a ``tiny:`` model, which has none of its own, takes its tokenizer from.
        seed: of a ``tiny:`` model's random weights.
        dtype: None keeps the checkpoint's on CUDA and float32 elsewhere.
        quantization: ``4bit`` or ``8bit`` makes the linear layers so, on the GPU; for saved full models.

    Raises:
        ModelError: nothing loadable there, with the reason.
    """
    if is_tiny(spec):
        if tokenizer_folder is None:
            raise ModelError(f"{spec}: a tiny model needs a data set artifact, whose tokenizer it takes")
        tokenizer = load_tokenizer(str(tokenizer_folder))
        return Loaded(build_tiny(spec, tokenizer, seed=seed), tokenizer)
    if is_reward_model(spec):
        raise ModelError(f"{spec}: a reward model scores answers and writes none; name a language model")
    if is_adapter(spec):
        folder = Path(spec)
        base = read_base(folder)
        lower = load_model(
            base.resolve(folder),
            tokenizer_folder=folder,
            seed=base.seed,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        return Loaded(_merged(lower.model, spec), load_tokenizer(spec))
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if quantization != "none":
        options["quantization_config"] = quantization_config(quantization)
    return _load_full(spec.removeprefix("hub:"), dtype=dtype, options=options)


def _merged(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    try:
        adapted: Any = PeftModel.from_pretrained(model, adapter)
    except (ValueError, RuntimeError) as error:  # other layers, or layers of other sizes
        reason = str(error).replace("\n\t", " ").partition("\n")[0]
        shown = reason if len(reason) <= SHOWN else f"{reason[:SHOWN]}…"
        raise ModelError(
            f"{adapter}: does not fit its base, a {model.config.model_type} model ({shown})"
        ) from error
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def _load_full(name: str, *, dtype: torch.dtype | None, options: dict[str, Any]) -> Loaded:
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}: no config.json and no adapter_config.json, so no model; give a model's folder"
        )
    _show_loading(folder)
    chosen = dtype or ("auto" if torch.cuda.is_available() else torch.float32)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(name, dtype=chosen, **options)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{name}: the model cannot be loaded ({' '.join(str(error).split())})") from error
    return Loaded(model, load_tokenizer(name, trust_remote_code=options["trust_remote_code"]))


def _show_loading(folder: Path) -> None:
    """transformers' progress bar for weights that take a while; it is off for small ones, which it would outlast."""
    if not folder.is_dir() or sum(path.stat().st_size for path in folder.glob("*.safetensors")) > 1 << 30:
        logging.enable_progress_bar()
