"""Which optimizer updates which weights, at which share of the learning rate, and when it must not."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.optimization import Adafactor

from xinglin.config.parts import Optimizer
from xinglin.models.quantized import require_bitsandbytes

_LAYER = re.compile(r"\.(?:layers|h|blocks|block)\.(\d+)\.")
_EMBEDDING = re.compile(r"\.(?:embed_tokens|word_embeddings|wte|lm_head|embed_out)\b|\.trainable_tokens_")
_INPUT = re.compile(r"\.(?:embed_tokens|embed_positions|embed_in|word_embeddings\w*|wte|wpe)\b")
_HEAD = re.compile(r"(?:^|\.)(?:score|value_head)\.")


def build_optimizer(model: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """The optimizer over the trainable parameters of ``model``.

    Raises:
        ModelError: it needs a GPU or a library that is not there.
    """
    groups = parameter_groups(model, config)
    betas = (config.betas[0], config.betas[1])

    def adamw(own: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(own, lr=config.learning_rate, betas=betas, eps=config.epsilon, fused=True)

    match config.name:
        case "adamw":
            return adamw(groups)
        case "adamw_8bit":
            require_bitsandbytes("optimizer.name adamw_8bit")
            from bitsandbytes.optim import AdamW8bit  # type: ignore[missing-import]

            return AdamW8bit(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon)
        case "adafactor":
            # Without relative steps, so that the learning rate means what it means elsewhere.
            return Adafactor(
                groups, lr=config.learning_rate, scale_parameter=False, relative_step=False, warmup_init=False
            )
        case "muon":
            hidden = [group for group in groups if group["hidden"]]
            others = [group for group in groups if not group["hidden"]]
            muon: Callable[..., torch.optim.Optimizer] = torch.optim.Muon
            parts = [muon(hidden, lr=config.learning_rate, adjust_lr_fn="match_rms_adamw")] if hidden else []
            return Joint([*parts, *([adamw(others)] if others else [])])


def parameter_groups(model: nn.Module, config: Optimizer) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by what an optimizer does with them.

    Each group has ``scale``, its share of the learning rate, and ``hidden``, whether it holds matrices between
    embeddings and head. Vectors (norms, biases) are never decayed.
    """
    layers = 1 + max(
        (number for name, _ in model.named_parameters() if (number := _layer(name)) is not None), default=-1
    )
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            embedding, head = bool(_EMBEDDING.search(name)), bool(_HEAD.search(name))
            decayed = parameter.ndim >= 2 and (config.decay_embeddings or not embedding)
            key = (
                config.weight_decay if decayed else 0.0,
                _scale(name, config, layers),
                parameter.ndim == 2 and not embedding and not head,
            )
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "scale": scale, "hidden": hidden}
        for (decay, scale, hidden), parameters in groups.items()
    ]


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def _scale(name: str, config: Optimizer, layers: int) -> float:
    """Share of the learning rate: 1 at the output, times ``layer_decay`` for each layer on the way down."""
    layer = _layer(name)
    depth = layers + 1 if _INPUT.search(name) else 0 if layer is None else layers - layer
    scale = config.layer_decay**depth
    if "lora_B" in name or "lora_embedding_B" in name:
        scale *= config.lora_plus_ratio
    return scale * config.head_ratio if _HEAD.search(name) else scale


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def step_unless(bad: Tensor, *, optimizer: torch.optim.Optimizer, step: Callable[[], Any]) -> None:
    """Call ``step``, an update of ``optimizer``, unless ``bad``, a boolean scalar: bad numbers never reach weights.

    The fused AdamW skips on the device, and nothing has to wait to find out; the others wait once per step.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = bad.float().reshape(())  # type: ignore[attr-defined]
        step()
    elif not bad:
        step()


class Joint(torch.optim.Optimizer):
    """Several optimizers, each with parameters of its own, used as one: they share its parameter groups."""

    def __init__(self, parts: list[torch.optim.Optimizer]):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> Any:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
