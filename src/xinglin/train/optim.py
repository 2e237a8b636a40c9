"""The optimizer and its learning rate as a function of the step."""

import math

import torch
from torch import nn

from xinglin.config.parts import Optimizer


def build_optimizer(model: nn.Module, config: Optimizer) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; vectors (norms, biases) are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        eps=config.epsilon,
        fused=True,
    )


def warmup_steps(config: Optimizer, steps: int) -> int:
    """Steps of warm-up: ``warmup`` below 1 is a share of ``steps``."""
    return round(config.warmup * steps) if config.warmup < 1 else int(config.warmup)


def learning_rate(config: Optimizer, step: int, steps: int) -> float:
    """The rate of optimizer step ``step`` (from 0) of ``steps``."""
    warm = warmup_steps(config, steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    shape = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[config.schedule]
    return config.learning_rate * (config.final_ratio + (1.0 - config.final_ratio) * shape)
