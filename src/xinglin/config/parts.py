"""The parts that several stages share: how to adapt a model, how to optimise, how to read text."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from xinglin import plugins
from xinglin.config.base import AnySplit, Config, DataInput, ModelInput, StageConfig, TrainingSplit

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]


def _known_engine(name: str) -> str:
    known = plugins.names("xinglin.engines")
    if name not in known:
        raise ValueError(f"there is no engine '{name}'; {plugins.nearest(name, known)}")
    return name


EngineName = Annotated[str, AfterValidator(_known_engine)]
"""A file in ``engines/``."""


class Lora(Config):
    """Low-rank adapters (arXiv 2106.09685)."""

    rank: Positive = 8
    """Rank of the update."""
    alpha: Above = 16.0
    """The update is scaled by alpha / rank."""
    dropout: Fraction = 0.0
    """Dropout on the adapter's input."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Names of the linear layers that get an adapter, e.g. ``[query_key_value]``; all but the head by default."""
    rank_pattern: dict[str, Positive] = Field(default={})
    """Other ranks for some layers: the end of a layer's name, or a pattern -> rank, e.g. ``{q_proj: 16}``."""
    alpha_pattern: dict[str, Above] = Field(default={})
    """Other alphas for some layers, in the same way."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (arXiv 2312.03732), which keeps high ranks from learning slower."""
    dora: bool = False
    """Train the length of every weight row apart from its direction (arXiv 2402.09353). Slower."""
    init: Literal["default", "gaussian", "pissa", "olora"] = "default"
    """How an adapter starts. ``pissa`` (arXiv 2404.02948) and ``olora`` (arXiv 2406.01775) take the base's own main
    directions out of it and train those; what is saved is a plain adapter of twice the rank on the whole base."""
    train_embeddings: Literal["none", "new", "all"] = "none"
    """Input and output embeddings that are trained beside the adapter: only the tokens that a vocabulary stage
    added (``new``), or every token. A head that is tied stays tied."""

    @model_validator(mode="after")
    def _exact(self) -> "Lora":
        if self.dora and self.init in ("pissa", "olora"):
            raise ValueError(f"dora with init {self.init} cannot be saved exactly; drop one of them")
        return self


class Freeze(Config):
    """Train some layers only."""

    trainable_layers: Positive = 2
    """How many layers are trained."""
    which: Literal["last", "first", "new"] = "last"
    """``last``: with the final norm and the head. ``first``: with the input embeddings. ``new`` (LLaMA Pro, arXiv
    2401.02415): copies of layers, put in evenly, that start without effect; the saved model has more layers."""


class Optimizer(Config):
    """What updates the weights, and its learning-rate schedule."""

    name: Literal["adamw", "adamw_8bit", "adafactor", "muon"] = "adamw"
    """``adamw`` (arXiv 1711.05101); ``adamw_8bit``: its state in 8 bits, needs a CUDA GPU and bitsandbytes;
    ``adafactor`` (arXiv 1804.04235): almost no state; ``muon`` (arXiv 2502.16982) for hidden matrices, with adamw
    for the rest, at the same learning rate as adamw."""
    learning_rate: Above = 1e-4
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant", "wsd", "inverse_sqrt"] = "cosine"
    """How the rate falls after the warm-up. ``wsd`` (arXiv 2405.18392): constant, then a short decay."""
    warmup: AtLeastZero = 0.03
    """Warm-up: below 1 a share of all steps, from 1 on a number of steps."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of all steps that the decay of ``schedule: wsd`` takes, at the end."""
    final_ratio: Fraction = 0.0
    """The rate at the end, as a share of the peak."""
    weight_decay: AtLeastZero = 0.0
    """Decoupled weight decay, on matrices only."""
    decay_embeddings: bool = True
    """Whether weight decay counts for embeddings and a head over the vocabulary too."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer's rate is that of the layer above it times this; the head has the full rate."""
    lora_plus_ratio: Above = 1.0
    """Rate of LoRA's B matrices over that of its A matrices (LoRA+, arXiv 2402.12354, which uses 16)."""
    head_ratio: Above = 1.0
    """Rate of a new score or value head over that of the other weights."""
    betas: list[Fraction] = Field(default=[0.9, 0.999], min_length=2, max_length=2)
    """Decay rates of AdamW's moment estimates."""
    epsilon: Above = 1e-8
    """Added to AdamW's denominator."""
    max_grad_norm: Above = 1.0
    """Gradients are scaled down to this norm over all parameters."""


class TrainingConfig(StageConfig):
    """What every training stage has."""

    model: ModelInput = None
    """What to start from: ``stage:NAME``, ``base``, a folder, ``hub:org/name`` or ``tiny:architecture``.
    Default: the nearest earlier stage that makes a model, else the recipe's ``model``."""
    data: DataInput = None
    """The data set: ``stage:NAME`` of a data stage or its folder. Default: the nearest earlier data stage."""
    split: TrainingSplit = "train"
    """The split to train on."""
    eval_split: AnySplit | None = None
    """The split whose loss is watched, if any."""

    template: str | None = None
    """A packaged chat template (``xinglin list templates``). Default: the one that the data stage names,
    else the one in the tokenizer."""
    max_tokens: Positive = 1024
    """Longest sequence in tokens."""
    over_length: Literal["error", "drop", "truncate_history", "split"] = "split"
    """What happens to longer ones. ``split`` makes several of one; what fits in none is left out and counted."""

    tuning: Literal["full", "lora", "freeze"] = "lora"
    """Train all weights, low-rank adapters, or some layers."""
    continue_: Literal["new", "same"] = Field(default="new", alias="continue")
    """What becomes of an adapter given as ``model``. ``new``: it is merged in memory and is part of the model that
    training starts from, the reference of DPO and PPO too; a LoRA adapter is a new one on top. ``same``: that very
    adapter is trained on, over its own base, which without any adapter is then the reference (``tuning: lora``)."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """Keep the frozen base in 4 bits (NF4, doubly quantised: QLoRA, arXiv 2305.14314) or in 8; needs
    ``tuning: lora``, a CUDA GPU and bitsandbytes."""
    neftune_alpha: Above | None = None
    """Noise on the input embeddings while training (NEFTune, arXiv 2310.05914): uniform within
    alpha / sqrt(tokens of the sequence x width). 5 is usual."""
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
    sharding: Literal["none", "full"] = "none"
    """Of weights, gradients and optimizer state over several processes (``torchrun``): ``none``, each has all of them
    (DDP); ``full``, each has a part (FSDP2), for models that do not fit otherwise. Alone, both mean the same."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations to save memory. ``auto``: only when the forecast does not fit."""
    kernels: Literal["auto", "plain"] = "auto"
    """``auto``: norms, rotary embedding and gated MLP as single GPU kernels where Liger is installed."""
    compile: bool = False
    """Compile every layer's norms and MLP (torch.compile): a few percent to a fifth faster on GPUs, after a minute."""
    probe: bool = False
    """Before training, run the heaviest pass once and print the memory and time it took beside the forecast."""
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

    @property
    def eval_splits(self) -> list[str]:
        """The splits that are watched; the first one decides which step is the best."""
        return [self.eval_split] if self.eval_split else []

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        if self.batch_size and self.batch_tokens:
            raise ValueError("batch_size and batch_tokens exclude each other; keep one")
        if (self.keep_best or self.early_stop or self.eval_every_steps) and not self.eval_split:
            raise ValueError("keep_best, early_stop and eval_every_steps need an eval_split")
        if self.split in self.eval_splits:
            raise ValueError("eval_split is the training split; evaluate on rows that are not trained on")
        for key, off in (
            ("continue", self.continue_ == "new"),
            ("quantization", self.quantization == "none"),
        ):
            if self.tuning != "lora" and not off:
                raise ValueError(f"{key} is for tuning: lora, not for {self.tuning}; leave it out")
        if self.continue_ == "same" and self.lora.init != "default":
            raise ValueError(
                f"lora.init {self.lora.init} is for a fresh adapter, not for continue: same; leave it out"
            )
        if self.sharding == "full":
            for key, value, possible in (
                ("optimizer.name", self.optimizer.name, self.optimizer.name == "adamw"),
                ("quantization", self.quantization, self.quantization == "none"),
                ("precision", self.precision, self.precision != "fp16"),
            ):
                if not possible:
                    raise ValueError(f"sharding full does not work with {key} {value}; change one of them")
        return self
