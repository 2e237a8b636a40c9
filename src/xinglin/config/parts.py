"""The parts that several stages share: how to adapt a model, how to optimise, how to read text."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.base import Config, DataInput, ModelInput, StageConfig

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Lora(Config):
    """Low-rank adapters (arXiv 2106.09685)."""

    rank: Positive = 8
    """Rank of the update."""
    alpha: Annotated[float, Field(gt=0)] = 16.0
    """The update is scaled by alpha / rank."""
    dropout: Fraction = 0.0
    """Dropout on the adapter's input."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Names of the linear layers that get an adapter, e.g. ``[query_key_value]``; all but the head by default."""


class Freeze(Config):
    """Train the last layers only."""

    trainable_layers: Positive = 2
    """How many of the last layers are trained, with the final norm and the head."""


class Optimizer(Config):
    """AdamW (arXiv 1711.05101) and its learning-rate schedule."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after the warm-up."""
    warmup: Annotated[float, Field(ge=0)] = 0.03
    """Warm-up: below 1 a share of all steps, from 1 on a number of steps."""
    final_ratio: Fraction = 0.0
    """The rate at the end, as a share of the peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay, on matrices only."""
    betas: list[Fraction] = Field(default=[0.9, 0.999], min_length=2, max_length=2)
    """Decay rates of the moment estimates."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm over all parameters."""


class TrainingConfig(StageConfig):
    """What every training stage has."""

    model: ModelInput = None
    """What to start from: ``stage:NAME``, ``base``, a folder, ``hub:org/name`` or ``tiny:architecture``.
    Default: the nearest earlier stage that makes a model, else the recipe's ``model``."""
    data: DataInput = None
    """The data set: ``stage:NAME`` of a data stage or its folder. Default: the nearest earlier data stage."""
    split: str = "train"
    """The split to train on."""
    eval_split: str | None = None
    """The split whose loss is watched, if any."""

    template: str | None = None
    """A packaged chat template (``xinglin list templates``). Default: the one that the data stage names,
    else the one in the tokenizer."""
    max_tokens: Positive = 1024
    """Longest sequence in tokens."""
    over_length: Literal["error", "drop", "truncate_history", "split"] = "split"
    """What happens to longer ones. ``split`` makes several of one: nothing is lost."""

    tuning: Literal["full", "lora", "freeze"] = "lora"
    """Train all weights, low-rank adapters, or the last layers."""
    lora: Lora = Lora()
    """Settings of ``tuning: lora``."""
    freeze: Freeze = Freeze()
    """Settings of ``tuning: freeze``."""
    optimizer: Optimizer = Optimizer()
    """Settings of the optimizer and its schedule."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the data."""
    max_steps: Positive | None = None
    """Stop after this many optimizer steps, if sooner."""
    batch_size: Positive | None = None
    """Sequences (pairs, for preferences) per optimizer step, over all processes. Default 32."""
    batch_tokens: Positive | None = None
    """Tokens per optimizer step, instead of ``batch_size``."""
    micro_batch_tokens: Positive = 4096
    """Tokens in one forward pass. Changes speed and memory, never the result."""
    packing: bool = True
    """Lay sequences end to end in a forward pass, isolated from each other. ``false``: one at a time,
    in the model's own attention."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the matrix products. ``auto``: bf16 on CUDA, fp32 elsewhere."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations to save memory. ``auto``: only when the forecast does not fit."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    log_every_steps: Positive = 10
    """Optimizer steps between two rows of metrics."""
    eval_every_steps: Positive | None = None
    """Optimizer steps between two evaluations. Default: ten times per run."""
    save_every_steps: Positive = 100
    """Optimizer steps between two checkpoints."""
    keep_best: bool = False
    """End with the weights of the lowest evaluation loss instead of the last ones."""
    early_stop: Positive | None = None
    """Stop after this many evaluations without a lower loss."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        if self.batch_size and self.batch_tokens:
            raise ValueError("batch_size and batch_tokens exclude each other; keep one")
        if (self.keep_best or self.early_stop or self.eval_every_steps) and not self.eval_split:
            raise ValueError("keep_best, early_stop and eval_every_steps need an eval_split")
        if self.eval_split == self.split:
            raise ValueError("eval_split is the training split; evaluate on rows that are not trained on")
        return self
