"""LoRA adapters: put a fresh one on a model, go on with a given one, save either."""

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xinglin.config.parts import Lora
from xinglin.errors import ModelError

_INIT = {"default": True, "gaussian": "gaussian", "pissa": "pissa_niter_16", "olora": "olora"}
"""PiSSA by randomised SVD: minutes become seconds, and the base that is left over is exact all the same."""
_HEADS = {"score", "classifier"}
"""What PEFT trains whole in a sequence classifier, whatever its name there."""
_SHAPE = {
    "rank": "r",
    "alpha": "lora_alpha",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
    "rslora": "use_rslora",
    "dora": "use_dora",
}
"""Setting -> PEFT's name, of all that decides what an adapter's numbers mean."""


def add_lora(model: PreTrainedModel, config: Lora, *, seed: int, new_tokens: Sequence[int] = ()) -> PeftModel:
    """A fresh adapter over a frozen base; it changes nothing until it is trained.

    A model with a ``score`` head trains that head whole.

    Args:
        new_tokens: ids that a vocabulary stage added, for ``train_embeddings: new``.

    Raises:
        ModelError: a target or pattern that fits no layer, or embeddings of new tokens where there are none.
    """
    _refuse_unknown(model, config)
    with torch.random.fork_rng(), warnings.catch_warnings():
        # PEFT cannot convert PiSSA with rsLoRA and patterns to a plain adapter; ``save_lora`` can.
        warnings.filterwarnings("ignore", message=r"Using Rank-Stabilized LoRA with rank_pattern")
        # Patterns of its own, for experts; those of the settings are checked above.
        warnings.filterwarnings("ignore", message=r"The following (rank|alpha)_pattern keys did not match")
        torch.manual_seed(seed)
        wrapped: Any = get_peft_model(model, _peft_config(model, config, new_tokens))
    return _ready(wrapped, takes_from_base=config.init in ("pissa", "olora"))


def _refuse_unknown(model: PreTrainedModel, config: Lora) -> None:
    """PEFT passes over a misspelt layer in silence as long as another one is right."""
    layers = [name for name, part in model.named_modules() if isinstance(part, (nn.Linear, Conv1D))]
    targets = [] if config.targets == "all-linear" else config.targets
    named = {"targets": targets, "rank_pattern": config.rank_pattern, "alpha_pattern": config.alpha_pattern}
    for setting, patterns in named.items():
        for pattern in patterns:
            if not any(re.fullmatch(rf"(.*\.)?({pattern})", layer) for layer in layers):
                there = ", ".join(sorted({layer.rsplit(".", 1)[-1] for layer in layers}))
                raise ModelError(
                    f"lora.{setting}: no linear layer is called '{pattern}'; this model has {there}"
                )


def _peft_config(model: PreTrainedModel, config: Lora, new_tokens: Sequence[int]) -> LoraConfig:
    return LoraConfig(
        task_type=TaskType.SEQ_CLS if hasattr(model, "score") else TaskType.CAUSAL_LM,
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=config.targets,
        rank_pattern=dict(config.rank_pattern),
        alpha_pattern=dict(config.alpha_pattern),
        use_rslora=config.rslora,
        use_dora=config.dora,
        init_lora_weights=_INIT[config.init],  # type: ignore[arg-type]
        **_embeddings(model, config, new_tokens),
    )


def _embeddings(model: PreTrainedModel, config: Lora, new_tokens: Sequence[int]) -> dict[str, Any]:
    """PEFT's settings for ``train_embeddings``."""
    if config.train_embeddings == "none":
        return {}
    tied = bool(model.config.tie_word_embeddings)
    parts = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
    names = [name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module in parts]
    if config.train_embeddings == "all":
        return {"modules_to_save": names, "ensure_weight_tying": tied}
    if not new_tokens:
        raise ModelError(
            "lora.train_embeddings new: no vocabulary stage has added tokens to this model; use all or none"
        )
    return {"trainable_token_indices": {name: list(new_tokens) for name in names}}


def continue_lora(model: PreTrainedModel, config: Lora, folder: Path) -> PeftModel:
    """The adapter in ``folder`` over ``model``, its base, to be trained on.

    Raises:
        ModelError: the settings have another shape than the adapter.
    """
    saved: Any = PeftConfig.from_pretrained(str(folder))
    wrong = [
        f"lora.{key} {getattr(saved, name)} instead of {getattr(config, key)}"
        for key, name in _SHAPE.items()
        if getattr(config, key) != getattr(saved, name)
    ]
    if (embeddings := _trained_embeddings(saved)) != config.train_embeddings:
        wrong.append(f"lora.train_embeddings {embeddings} instead of {config.train_embeddings}")
    linear = _linear_layers(model)
    saved.lora_dropout = config.dropout
    wrapped: Any = PeftModel.from_pretrained(model, str(folder), is_trainable=True, config=saved)
    adapted = {name.removeprefix("base_model.model.") for name, _ in _lora_layers(wrapped)}
    if adapted != {name for name in linear if _targeted(name, config)}:
        wrong.append(f"lora.targets {sorted(map(str, saved.target_modules))} instead of {config.targets}")
    if wrong:
        raise ModelError(
            f"{folder}: continue same needs the shape of the adapter: set {', '.join(wrong)}, or continue: new"
        )
    return _ready(wrapped, takes_from_base=False)


def _trained_embeddings(saved: Any) -> str:
    """The ``train_embeddings`` that an adapter was made with."""
    if saved.trainable_token_indices:
        return "new"
    return "all" if set(saved.modules_to_save or ()) - _HEADS else "none"


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """The names of all linear layers but the head."""
    head = model.get_output_embeddings()
    return [
        name
        for name, part in model.named_modules()
        if isinstance(part, (nn.Linear, Conv1D)) and part is not head and name != "score"
    ]


def _targeted(name: str, config: Lora) -> bool:
    return config.targets == "all-linear" or any(
        name == target or name.endswith(f".{target}") for target in config.targets
    )


def _lora_layers(wrapped: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in wrapped.named_modules() if isinstance(module, LoraLayer)]


def _ready(wrapped: Any, *, takes_from_base: bool) -> PeftModel:
    """Trained weights in float32, whatever the base is kept in; remember those that were taken out of it."""
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    wrapped.taken = {}
    if takes_from_base:
        for name, layer in _lora_layers(wrapped):
            for part in ("lora_A", "lora_B"):
                taken = getattr(layer, part)["default"].weight.detach().cpu()
                wrapped.taken[f"{name}.{part}.weight"] = taken.clone()
    return wrapped


def cast_down(wrapped: nn.Module) -> None:
    """Under autocast, cast an adapter's small matrices down instead of the activations up, as PEFT would."""
    for _, layer in _lora_layers(wrapped):
        layer.cast_input_dtype_enabled = bool(layer.lora_variant)  # DoRA measures weights in its input's type


def save_lora(wrapped: Any, folder: Path, *, base: str) -> None:
    """The adapter in PEFT's layout, exact on the base that it was put on; ``base`` is a folder or hub name."""
    wrapped.peft_config["default"].base_model_name_or_path = base
    wrapped.save_pretrained(
        folder,
        selected_adapters=["default"],
        save_embedding_layers=False,  # never resized here; "auto" asks the hub
    )
    if wrapped.taken:
        _give_back(folder, wrapped.taken)


def _give_back(folder: Path, taken: dict[str, Tensor]) -> None:
    """W - s B0 A0 + s B A = W + s [B, -B0] [A; A0]: a plain adapter of twice the rank on the whole W."""
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    for name, start in taken.items():
        rows = name.endswith("lora_A.weight")
        weights[name] = torch.cat([weights[name], start if rows else -start], dim=0 if rows else 1)
    save_file(weights, path, metadata={"format": "pt"})
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    growth = 2**0.5 if config["use_rslora"] else 2
    config |= {
        "r": 2 * config["r"],
        "lora_alpha": growth * config["lora_alpha"],
        "rank_pattern": {key: 2 * rank for key, rank in config["rank_pattern"].items()},
        "alpha_pattern": {key: growth * alpha for key, alpha in config["alpha_pattern"].items()},
        "init_lora_weights": True,
    }
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
