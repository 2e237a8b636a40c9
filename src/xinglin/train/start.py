"""What training starts from, and which of its weights are trained."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from xinglin.config.parts import TrainingConfig
from xinglin.config.tiny import is_tiny
from xinglin.errors import ModelError
from xinglin.models.adapt import train_all, train_some_layers
from xinglin.models.adapter import is_adapter, read_base, stack
from xinglin.models.embeddings import read_extension
from xinglin.models.load import Loaded, load_model
from xinglin.models.lora import add_lora, cast_down, continue_lora
from xinglin.models.quantized import require_bitsandbytes
from xinglin.models.tokenizer import load_tokenizer


class Start(NamedTuple):
    base: str
    """Folder or id of the model below what is trained: a new adapter will name it."""
    seed: int
    """Of a ``tiny:`` base."""
    tokenizer_folder: Path
    """Where a ``tiny:`` base takes its tokenizer from."""
    adapter: Path | None
    """The adapter that is trained on, with ``continue: same``."""


def find_start(config: TrainingConfig, *, model: str, seed: int, tokenizer_folder: Path) -> Start:
    """What ``model`` means for this stage. Nothing is loaded.

    Raises:
        ModelError: this machine or this model does not allow what the settings ask for.
    """
    if config.optimizer.name == "adamw_8bit":
        require_bitsandbytes("optimizer.name adamw_8bit")
    if config.continue_ == "same" and not is_adapter(model):
        raise ModelError(f"{model}: continue same needs an adapter, and this is a full model; leave it out")
    start = Start(model, seed, tokenizer_folder, None)
    if config.continue_ == "same":
        folder = Path(model)
        base = read_base(folder)
        start = Start(base.resolve(folder), base.seed, folder, folder)
    if config.quantization != "none":
        require_bitsandbytes(f"quantization {config.quantization}")
        if is_adapter(start.base) or is_tiny(start.base):
            kind = "an adapter" if is_adapter(start.base) else "a tiny model"
            cure = "merge it in a stage before" if is_adapter(start.base) else "leave quantization out"
            raise ModelError(
                f"{start.base}: quantization needs saved weights of a full model, not {kind}; {cure}"
            )
    return start


def load_start(config: TrainingConfig, start: Start, *, dtype: torch.dtype | None) -> Loaded:
    """The model below what is trained, and the tokenizer of what is trained."""
    model, tokenizer = load_model(
        start.base,
        tokenizer_folder=start.tokenizer_folder,
        seed=start.seed,
        dtype=dtype,
        quantization=config.quantization,
        trust_remote_code=config.trust_remote_code,
    )
    return Loaded(model, load_tokenizer(str(start.adapter)) if start.adapter else tokenizer)


def adapt(core: PreTrainedModel, config: TrainingConfig, start: Start, *, seed: int) -> nn.Module:
    """Choose the weights of ``core`` that are trained, as ``config.tuning`` says."""
    match config.tuning:
        case "full":
            return train_all(core)
        case "freeze":
            return train_some_layers(core, config.freeze)
    if start.adapter:
        adapted = continue_lora(core, config.lora, start.adapter)
    else:
        adapted = add_lora(core, config.lora, seed=seed, new_tokens=new_tokens(start.base))
    if config.precision != "fp32":
        cast_down(adapted)
    return adapted


def new_tokens(base: str) -> list[int]:
    """Ids of the tokens that a vocabulary stage added to a model; none for one that was not extended."""
    extension = read_extension(Path(stack(base)[0]))
    if extension is None:
        return []
    return list(range(extension.first_new_id, extension.first_new_id + len(extension.added)))
