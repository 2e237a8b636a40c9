"""Small random models of real architectures, for the demo, for tests and for trying a recipe without weights.

``tiny:qwen3`` is 4 layers of width 192; ``tiny:qwen3:256x6`` is 6 layers of width 256.
"""

import re
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from xinglin.errors import ModelError
from xinglin.plugins import nearest

ARCHITECTURES = ("qwen3", "llama", "glm4", "bloom")
_HEAD = 32


def is_tiny(spec: str) -> bool:
    return spec.startswith("tiny:")


def tiny_config(spec: str, *, tokenizer: PreTrainedTokenizerFast, context: int = 2048) -> PretrainedConfig:
    """The config of ``tiny:ARCHITECTURE[:WIDTHxLAYERS]`` with the tokenizer's vocabulary and special tokens.

    Raises:
        ModelError: unknown architecture or a width that is no multiple of 64.
    """
    match = re.fullmatch(r"tiny:([a-z0-9]+)(?::(\d+)x(\d+))?", spec)
    if match is None:
        raise ModelError(
            f"'{spec}': write tiny:ARCHITECTURE or tiny:ARCHITECTURE:WIDTHxLAYERS, e.g. tiny:qwen3:192x4"
        )
    architecture, width, layers = match[1], int(match[2] or 192), int(match[3] or 4)
    if architecture not in ARCHITECTURES:
        raise ModelError(f"'{spec}': unknown architecture; {nearest(architecture, ARCHITECTURES)}")
    if width % (2 * _HEAD) or not layers:
        raise ModelError(f"'{spec}': the width must be a multiple of {2 * _HEAD} and the layers at least 1")
    heads = width // _HEAD
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "tie_word_embeddings": True,
        # The usual 0.02 is for wide models: at this width it leaves the logits flat for hundreds of steps.
        "initializer_range": width**-0.5,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if architecture == "bloom":
        return AutoConfig.for_model("bloom", **shape, n_layer=layers, n_head=heads)
    return AutoConfig.for_model(
        architecture,
        **shape,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=_HEAD,
        intermediate_size=width * 8 // 3 // _HEAD * _HEAD,
        max_position_embeddings=context,
    )


def build_tiny(spec: str, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> PreTrainedModel:
    """A random float32 model that fits ``tokenizer``; the same seed gives the same weights."""
    config = tiny_config(spec, tokenizer=tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model
