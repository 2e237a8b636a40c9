"""What the training stages share: from a config to a loop, and from a finished loop to an artifact."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from xinglin.config.parts import TrainingConfig
from xinglin.data.hindsight import Reading
from xinglin.data.packing import Plan
from xinglin.data.rendering import Reasoning, Renderer
from xinglin.data.shards import Shards
from xinglin.data.splits import open_shards, require_trained, split_file
from xinglin.errors import DataError, TrainingError
from xinglin.models.attention import check_isolation, isolated, packed_attention
from xinglin.models.kernels import compile_layers, fuse
from xinglin.models.neftune import Noise
from xinglin.models.packed import PackedModel
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun
from xinglin.train import processes
from xinglin.train.forecast import DEFAULT_BATCH, Outlook, settle
from xinglin.train.sharding import shard
from xinglin.train.start import Start, adapt, find_start, load_start


@dataclass
class Session:
    """One training stage at work."""

    config: TrainingConfig
    run: StageRun
    accelerator: Accelerator
    start: Start
    base_dtype: torch.dtype
    tokenizer: PreTrainedTokenizerFast
    renderer: Renderer
    model: PackedModel
    share: bool
    """Whether what the sequences of a group begin with in common is computed once."""
    expected: Outlook

    @property
    def base(self) -> str:
        """Folder or id of the model that training starts from, or that lies below the adapter that is trained on."""
        return self.start.base

    @property
    def base_seed(self) -> int:
        """Of a ``tiny:`` base."""
        return self.start.seed

    @property
    def adapted(self) -> nn.Module:
        """The model, with its adapter if one is trained."""
        return self.model.model

    @property
    def core(self) -> PreTrainedModel:
        """The transformers model, adapters and all, without PEFT's wrapper."""
        return self.model.core

    def shards(self, split: str, *, preferences: Reading = "pairs", apart: bool = False) -> Shards:
        """The token shards of a split of the stage's data set, as ``Tokenising`` describes."""
        artifact = self.run.artifact(self.config.data or "")
        path = split_file(artifact, split)
        with processes.first_alone():
            shards = open_shards(
                path,
                self.renderer,
                max_tokens=self.config.max_tokens,
                policy=self.config.over_length,
                places=[artifact.folder / "shards", self.run.cache / "shards"],
                records=artifact.details["splits"][split]["records"],
                preferences=preferences,
                apart=apart,
            )
        require_trained(shards, path)
        self.refuse_longer(shards.meta["lengths"]["max"], split)
        return shards

    def refuse_longer(self, longest: int, split: str) -> None:
        """Refuse sequences of a split that the model has no positions for.

        Raises:
            TrainingError: names the longest and the window.
        """
        window = getattr(self.core.config, "max_position_embeddings", None)
        if window and longest > window:
            raise TrainingError(
                f"split '{split}': {longest} tokens in a sequence, the model's window is {window}; "
                f"set max_tokens to {window} or less"
            )

    def shard_model(self) -> None:
        """Leave each process its part of the weights, if the settings say so: once, when the model is as it will be."""
        if self.config.sharding == "full" and self.accelerator.num_processes > 1:
            shard(self.model, self.accelerator)

    def packed(self) -> AbstractContextManager[None]:
        """Within, the model takes packed batches; without packing it keeps its own attention."""
        return packed_attention(self.core) if self.config.packing else nullcontext()

    def plan(self, shards: Shards, *, training: bool) -> Plan:
        """The steps over ``shards``: the stage's own for training, one pass in order for evaluation."""
        config = self.config
        return Plan(
            shards.lengths,
            shards.counts,
            shared=shards.shared if self.share else None,
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


def open_session(
    config: TrainingConfig,
    run: StageRun,
    *,
    head: Callable[[PreTrainedModel, Renderer], PreTrainedModel] | None = None,
    reasoning: Reasoning | None = None,
) -> Session:
    """Load and adapt the model.

    Args:
        head: puts another head on the language model, before the weights that are trained are chosen.
        reasoning: as ``Renderer`` takes it.

    Raises:
        TrainingError: the precision is not to be had on this device.
        ModelError: the model cannot be loaded, adapted or packed.
        DataError: the split is held out for evaluation.
    """
    data = _training_data(config, run)
    set_seed(run.seed)
    accelerator = processes.open_accelerator(config.precision)
    given, folder = run.model(config.model or "base"), data.folder / "tokenizer"
    start = find_start(config, model=given, seed=run.seed, tokenizer_folder=folder)
    expected = processes.by_first(lambda: settle(config, run, processes=accelerator.num_processes))
    core, tokenizer = load_start(config, start, dtype=_frozen_dtype(config, accelerator))
    dtype = core.dtype
    share = _prepare(core, config, checkpointing=expected.work.checkpointing)
    template = config.template or data.config.get("template")
    renderer = Renderer(tokenizer, template=template, reasoning=reasoning)
    core = head(core, renderer) if head else core
    model = _packed(adapt(core, config, start, seed=run.seed), config)
    return Session(
        config=config,
        run=run,
        accelerator=accelerator,
        start=start,
        base_dtype=dtype,
        tokenizer=tokenizer,
        renderer=renderer,
        model=model,
        share=share,
        expected=expected,
    )


def _training_data(config: TrainingConfig, run: StageRun) -> Artifact:
    data = run.artifact(config.data or "")
    split_file(data, config.split)
    if data.details["splits"][config.split].get("held_out"):
        raise DataError(f"split '{config.split}' is held out for evaluation; train on another one")
    return data


def _prepare(core: PreTrainedModel, config: TrainingConfig, *, checkpointing: bool) -> bool:
    """Set up how ``core`` computes; returns whether it can compute common beginnings once."""
    core.config.use_cache = False
    if config.packing:
        check_isolation(core)
    share = config.packing and isolated(core, share=True)
    if config.kernels == "auto":
        fuse(core)
    if config.compile:
        compile_layers(core)
    if checkpointing:
        core.activation_checkpointing_enable()
    return share


def _packed(adapted: nn.Module, config: TrainingConfig) -> PackedModel:
    model = PackedModel(adapted)
    if config.neftune_alpha:
        Noise(model, alpha=config.neftune_alpha)
    return model


def _frozen_dtype(config: TrainingConfig, accelerator: Accelerator) -> torch.dtype | None:
    """Weights that are not trained are kept in the arithmetic's type on CUDA; None: in the checkpoint's own."""
    if config.tuning == "full" or not torch.cuda.is_available():
        return None
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    return kinds[str(accelerator.mixed_precision)]
