"""What a training stage will take, said before it starts: tokens, steps, memory."""

import json
from pathlib import Path
from typing import Any

from xinglin.config.parts import TrainingConfig
from xinglin.config.tiny import is_tiny
from xinglin.models.tiny import tiny_config
from xinglin.models.tokenizer import load_tokenizer
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun
from xinglin.train.memory import Shape, forecast

_ALIASES = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_embed": "hidden_size"}


def describe(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Lines for the plan of a run; what is not known yet is left out."""
    data = run.inputs.get(config.data or "")
    lines = {}
    if isinstance(data, Artifact) and config.split in data.details["splits"]:
        tokens = data.details["splits"][config.split]["tokens"]
        lines["tokens"] = f"{tokens:,} x {config.epochs:g} epochs" if tokens else "not tokenised yet"
    shape = _shape(run, data)
    if shape is not None:
        lines["memory"] = str(
            forecast(
                shape,
                tokens=config.micro_batch_tokens,
                tuning=config.tuning,
                lora_rank=config.lora.rank,
                trainable_layers=config.freeze.trainable_layers,
                checkpointing=config.gradient_checkpointing == "on",
            )
        )
    return lines


def _shape(run: StageRun, data: Artifact | str | None) -> Shape | None:
    """Sizes of the recipe's model, which every stage keeps; None for one that is not on this machine."""
    if is_tiny(run.base):
        if not isinstance(data, Artifact):
            return None
        return Shape.of(tiny_config(run.base, tokenizer=load_tokenizer(str(data.folder / "tokenizer"))))
    path = Path(run.base) / "config.json"
    if not path.is_file():
        return None
    return Shape.of(_Attributes(json.loads(path.read_text(encoding="utf-8"))))


class _Attributes:
    """The keys of a ``config.json`` as attributes, under the names that transformers gives them."""

    def __init__(self, row: dict[str, Any]):
        self.__dict__.update({_ALIASES.get(name, name): value for name, value in row.items()})
