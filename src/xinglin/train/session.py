"""What the training stages share: from a config to a loop, and from a finished loop to an artifact."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from xinglin.config.parts import TrainingConfig
from xinglin.data.packing import Plan
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards
from xinglin.data.splits import open_shards, require_trained, split_file
from xinglin.errors import DataError, TrainingError
from xinglin.models.adapt import add_lora, freeze_all_but_last, train_all
from xinglin.models.attention import check_isolation, packed_attention
from xinglin.models.load import load_model
from xinglin.models.packed import PackedModel
from xinglin.runtime.stage_run import StageRun
from xinglin.runtime.units import bytes_text
from xinglin.train.memory import Shape, forecast

DEFAULT_BATCH = 32


@dataclass
class Session:
    """One training stage at work."""

    config: TrainingConfig
    run: StageRun
    accelerator: Accelerator
    base: str
    """Folder or id of the model that training starts from."""
    base_dtype: torch.dtype
    core: PreTrainedModel
    adapted: nn.Module
    tokenizer: PreTrainedTokenizerFast
    renderer: Renderer
    model: PackedModel
    forecast_bytes: int

    def shards(self, split: str) -> Shards:
        """The token shards of a split of the stage's data set."""
        artifact = self.run.artifact(self.config.data or "")
        path = split_file(artifact, split)
        shards = open_shards(
            path,
            self.renderer,
            max_tokens=self.config.max_tokens,
            policy=self.config.over_length,
            places=[artifact.folder / "shards", self.run.cache / "shards"],
            records=artifact.details["splits"][split]["records"],
        )
        require_trained(shards, path)
        window = getattr(self.core.config, "max_position_embeddings", None)
        longest = shards.meta["lengths"]["max"]
        if window and longest > window:
            raise TrainingError(
                f"split '{split}': {longest} tokens in a sequence, the model's window is {window}; "
                f"set max_tokens to {window} or less"
            )
        return shards

    def packed(self) -> AbstractContextManager[None]:
        """Within, the model takes packed batches; without packing it keeps its own attention."""
        return packed_attention(self.core) if self.config.packing else nullcontext()

    def plan(self, shards: Shards, *, training: bool) -> Plan:
        """The steps over ``shards``: the stage's own for training, one pass in order for evaluation."""
        config = self.config
        return Plan(
            shards.lengths,
            shards.counts,
            group=shards.group,
            micro_batch_tokens=config.micro_batch_tokens if config.packing else 1,
            batch_size=None if config.batch_tokens else (config.batch_size or DEFAULT_BATCH),
            batch_tokens=config.batch_tokens,
            epochs=config.epochs if training else 1,
            max_steps=config.max_steps if training else None,
            seed=self.run.seed,
            processes=self.accelerator.num_processes,
            shuffle=training,
        )


def open_session(config: TrainingConfig, run: StageRun) -> Session:
    """Load and adapt the model.

    Raises:
        TrainingError: the precision is not to be had on this device.
        ModelError: the model cannot be loaded, adapted or packed.
        DataError: the split is held out for evaluation.
    """
    data = run.artifact(config.data or "")
    split_file(data, config.split)
    if data.details["splits"][config.split].get("held_out"):
        raise DataError(f"split '{config.split}' is held out for evaluation; train on another one")
    set_seed(run.seed)
    accelerator = Accelerator(
        mixed_precision=_mixed_precision(config.precision), cpu=not torch.cuda.is_available()
    )
    base = run.model(config.model or "base")
    core, tokenizer = load_model(
        base,
        tokenizer_folder=data.folder / "tokenizer",
        seed=run.seed,
        dtype=_frozen_dtype(config, accelerator),
        trust_remote_code=config.trust_remote_code,
    )
    base_dtype = core.dtype
    core.config.use_cache = False
    if config.packing:
        check_isolation(core)
    renderer = Renderer(tokenizer, template=config.template or data.config.get("template"))
    needed = _apply_checkpointing(config, core, accelerator)
    adapted = _adapt(config, core, run.seed)
    return Session(
        config,
        run,
        accelerator,
        base,
        base_dtype,
        core,
        adapted,
        tokenizer,
        renderer,
        PackedModel(adapted),
        needed,
    )


def _mixed_precision(precision: str) -> str:
    if precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("precision fp16 needs a CUDA device; use bf16, fp32 or auto")
    if precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return {"fp32": "no"}.get(precision, precision)


def _frozen_dtype(config: TrainingConfig, accelerator: Accelerator) -> torch.dtype | None:
    """Weights that are not trained are kept in the arithmetic's type on CUDA; None: in the checkpoint's own."""
    if config.tuning == "full" or not torch.cuda.is_available():
        return None
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    return kinds[str(accelerator.mixed_precision)]


def _adapt(config: TrainingConfig, core: PreTrainedModel, seed: int) -> nn.Module:
    if config.tuning == "lora":
        return add_lora(core, config.lora, seed=seed)
    return train_all(core) if config.tuning == "full" else freeze_all_but_last(core, config.freeze)


def available_bytes() -> int:
    """Memory that is free now: of the GPU when there is one, else of the machine."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available


def _apply_checkpointing(config: TrainingConfig, core: PreTrainedModel, accelerator: Accelerator) -> int:
    """Turn on gradient checkpointing if asked for, or if the forecast does not fit; returns the forecast in bytes."""

    def bytes_needed(checkpointing: bool) -> int:
        return forecast(
            Shape.of(core.config),
            tokens=config.micro_batch_tokens,
            tuning=config.tuning,
            lora_rank=config.lora.rank,
            trainable_layers=config.freeze.trainable_layers,
            weight_bytes=core.dtype.itemsize,
            activation_bytes=4 if accelerator.mixed_precision == "no" else 2,
            checkpointing=checkpointing,
        ).total

    room = available_bytes()
    on = config.gradient_checkpointing == "on" or (
        config.gradient_checkpointing == "auto" and bytes_needed(False) > 0.9 * room
    )
    if on:
        core.activation_checkpointing_enable()
        print(
            f"gradient checkpointing is on: {bytes_text(bytes_needed(False))} needed without, {bytes_text(room)} free"
        )
    return bytes_needed(on)
