"""Small random models of real architectures, for the demo, for tests and for trying a recipe without weights."""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from xinglin.config.tiny import HEAD_WIDTH, parse_tiny


def tiny_config(spec: str, *, tokenizer: PreTrainedTokenizerFast, context: int = 2048) -> PretrainedConfig:
    """The config of ``tiny:ARCHITECTURE[:WIDTHxLAYERS]`` with the tokenizer's vocabulary and special tokens.

    Raises:
        ModelError: no such tiny model.
    """
    architecture, width, layers = parse_tiny(spec)
    heads = width // HEAD_WIDTH
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
        head_dim=HEAD_WIDTH,
        intermediate_size=width * 8 // 3 // HEAD_WIDTH * HEAD_WIDTH,
        max_position_embeddings=context,
    )


def build_tiny(spec: str, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> PreTrainedModel:
    """A random float32 model that fits ``tokenizer``; the same seed gives the same weights."""
    config = tiny_config(spec, tokenizer=tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model
