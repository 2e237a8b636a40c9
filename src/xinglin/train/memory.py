"""Peak memory and arithmetic of a training stage, from the sizes in a config alone.

Weights, optimizer state, activations per token and layer, and logits are counted in the usual way (e.g. Korthikanti
et al., arXiv 2205.05198, adapted to gated MLPs, grouped keys and values, and per-sequence attention).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from xinglin.models.experts import Experts, count_experts
from xinglin.models.packed import SLICE
from xinglin.runtime.units import bytes_text

_PLAIN_MLP = ("bloom", "falcon", "gpt2", "gpt_neox", "opt", "phi")
_SQUARE_ATTENTION = ("bloom",)

_FOUR_NORMS = ("glm4", "gemma2", "gemma3_text", "olmo2")
_HEAD_NORMS = ("qwen3", "qwen3_moe", "gemma3_text", "olmo2")

STATE_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0, "adafactor": 0.1, "muon": 4.5}
"""Optimizer state per trained weight."""
NF4_BYTES = 0.516
"""A weight in 4 bits with doubly quantised constants (arXiv 2305.14314)."""


class Kept(NamedTuple):
    """Bytes that the backward pass needs of one layer and token, per unit of width."""

    hidden: int
    norm: int
    """Times hidden, for each norm of a layer."""
    query: int
    key_value: int
    head_norm: int
    """Times query and key-value width, where their heads are normed."""
    intermediate: int


KEPT = {
    ("lora", 4): Kept(8, 4, 12, 8, 4, 16),
    ("lora", 2): Kept(12, 3, 6, 4, 4, 8),
    ("full", 4): Kept(8, 8, 12, 8, 8, 16),
    ("full", 2): Kept(16, 5, 6, 4, 6, 8),
    ("fused", 2): Kept(8, 0, 4, 4, 0, 6),
}
"""By tuning and bytes of an activation, counted from what torch keeps for transformers' layers under autocast."""
KNOBS = {
    "weights": "quantization: 4bit, or sharding over more GPUs",
    "gradients and optimizer": "tuning: lora, or optimizer.name: adamw_8bit",
    "activations": "a lower micro_batch_tokens, or gradient_checkpointing: on",
    "logits": "nothing but a smaller vocabulary",
    "generation": "a lower generation_tokens",
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that memory and time depend on."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int
    query_width: int
    key_value_width: int
    tied: bool
    mlp_matrices: int = 3
    """3 for a gated MLP, 2 for a plain one."""
    square_heads: int = 0
    """Heads whose attention needs a (tokens x tokens) mask; 0 for attention by sequence."""
    norms: int = 2
    """In a layer, over the hidden width."""
    head_norms: bool = False
    """Whether queries and keys are normed by head."""
    experts: Experts | None = None
    """Of a mixture of experts, whose ``intermediate`` is that of the experts which a token passes through."""

    @staticmethod
    def of(config: Any) -> "Shape":
        """From a transformers config, whatever its names are."""
        config = config.get_text_config()
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        experts = count_experts(config)
        plain = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        return Shape(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            intermediate=experts.intermediate if experts else plain,
            vocabulary=config.vocab_size,
            query_width=heads * width,
            key_value_width=(getattr(config, "num_key_value_heads", None) or heads) * width,
            tied=bool(getattr(config, "tie_word_embeddings", False)),
            mlp_matrices=2 if config.model_type in _PLAIN_MLP else 3,
            square_heads=heads if config.model_type in _SQUARE_ATTENTION else 0,
            norms=4 if config.model_type in _FOUR_NORMS else 2,
            head_norms=config.model_type in _HEAD_NORMS,
            experts=experts,
        )

    @property
    def layer_parameters(self) -> int:
        return round(self.experts.stored) if self.experts else self.active_parameters

    @property
    def linear_parameters(self) -> int:
        """Those of a layer in plain linear layers."""
        return round(self.experts.linear) if self.experts else self.active_parameters

    @property
    def active_parameters(self) -> int:
        """Those of a layer that one token passes through."""
        if self.experts:
            return round(self.experts.active)
        attention = self.hidden * (2 * self.query_width + 2 * self.key_value_width)
        return attention + self.mlp_matrices * self.hidden * self.intermediate

    @property
    def head_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def embedding_parameters(self) -> int:
        return (1 if self.tied else 2) * self.head_parameters

    @property
    def parameters(self) -> int:
        """All of them, norms left out."""
        return self.layers * self.layer_parameters + self.embedding_parameters

    def lora_parameters(self, rank: int) -> int:
        """An adapter on every linear layer but the head."""
        if self.experts:
            return round(self.layers * rank * self.experts.adapted)
        attention = 2 * (self.hidden + self.query_width) + 2 * (self.hidden + self.key_value_width)
        return self.layers * rank * (attention + self.mlp_matrices * (self.hidden + self.intermediate))


@dataclass(frozen=True)
class Work:
    """What one forward and backward pass of a stage does with a model."""

    tokens: int
    """In one forward pass."""
    tuning: str = "lora"
    """``full``, ``lora`` or ``freeze``."""
    lora_rank: int = 8
    adapters: int = 1
    """Trained adapters of that rank (2 with a value adapter)."""
    embeddings: bool = False
    """Whether copies of embedding and head are trained beside the adapter."""
    trainable_layers: int = 2
    optimizer: str = "adamw"
    quantization: str = "none"
    weight_bytes: int = 4
    """Per frozen weight; trained ones are kept in float32."""
    activation_bytes: int = 4
    """2 under bf16 and fp16, 4 in fp32."""
    checkpointing: bool = False
    fused: bool = False
    """Norms, rotary embedding and gated MLP in single kernels, which keep less."""
    logits: bool = True
    """False for a reward model, whose head has one output."""
    copies: int = 0
    """Further frozen models of the same size: the reference of PPO with ``tuning: full``."""
    beside: int = 0
    """Parameters of further frozen models of other sizes: reward models that share no base with the policy."""
    generated_tokens: int = 0
    """Tokens in the key-value cache of a rollout."""
    processes: int = 1
    """Over which weights and state are sharded."""


@dataclass(frozen=True)
class Forecast:
    """Peak bytes by term."""

    terms: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.terms.values())

    @property
    def largest(self) -> str:
        return max(self.terms, key=lambda name: self.terms[name])

    def __str__(self) -> str:
        name = self.largest
        return f"{bytes_text(self.total)}, most of it {name} ({bytes_text(self.terms[name])}: less with {KNOBS[name]})"


def forecast(shape: Shape, work: Work) -> Forecast:
    """Peak memory of one optimizer step."""
    trained = trained_parameters(shape, work)
    frozen = shape.parameters - (0 if work.tuning == "lora" else trained)
    linear = shape.layers * shape.linear_parameters
    if work.quantization != "none":
        each = NF4_BYTES if work.quantization == "4bit" else 1.0
        frozen_bytes = linear * each + (frozen - linear) * 2 + shape.hidden * shape.intermediate * 2
    else:
        frozen_bytes = frozen * work.weight_bytes
    copies = (work.copies * shape.parameters + work.beside) * work.weight_bytes
    # Under autocast every trained matrix is kept a second time in the arithmetic's type.
    casts = trained * work.activation_bytes if work.activation_bytes < 4 else 0
    state = trained * (4 + STATE_BYTES[work.optimizer])
    width = 2 * shape.key_value_width * shape.layers
    return Forecast(
        {
            "weights": int((frozen_bytes + copies + trained * 4 + casts) / work.processes),
            "gradients and optimizer": int(state / work.processes),
            "activations": _activations(shape, work),
            "logits": min(work.tokens, SLICE) * shape.vocabulary * 10 if work.logits else 0,
            "generation": work.generated_tokens * width * work.activation_bytes,
        }
    )


def trained_parameters(shape: Shape, work: Work) -> int:
    return {
        "full": shape.parameters,
        "lora": work.adapters * shape.lora_parameters(work.lora_rank)
        + work.embeddings * shape.embedding_parameters,
        "freeze": work.trainable_layers * shape.layer_parameters + shape.head_parameters,
    }[work.tuning]


def layer_bytes(shape: Shape, work: Work) -> int:
    """What the backward pass needs of one layer, per token."""
    size = work.activation_bytes
    kept = KEPT[
        ("fused", 2) if work.fused and size == 2 else ("lora" if work.tuning == "lora" else "full", size)
    ]
    head_norm = kept.head_norm if shape.head_norms else 0
    return (
        (kept.hidden + kept.norm * shape.norms) * shape.hidden
        + (kept.query + head_norm) * shape.query_width
        + (kept.key_value + head_norm) * shape.key_value_width
        + kept.intermediate * shape.intermediate * (shape.mlp_matrices - 1) // 2
        + (7 * work.lora_rank * size if work.tuning == "lora" else 0)
        + shape.square_heads * work.tokens * 2 * size
    )


def _activations(shape: Shape, work: Work) -> int:
    each = layer_bytes(shape, work)
    layers = work.trainable_layers if work.tuning == "freeze" else shape.layers
    inputs = layers * shape.hidden * work.activation_bytes
    ends = 3 * shape.hidden * work.activation_bytes
    return work.tokens * ((inputs + each if work.checkpointing else layers * each) + ends)


def flops(shape: Shape, work: Work, *, mean_length: float, trained_share: float) -> float:
    """Floating-point operations per token of training: multiply-adds count twice.

    Args:
        mean_length: tokens that a token's attention reaches, over all sequences (sum of squares / sum / 2 when causal).
        trained_share: share of the tokens whose logits are made.
    """
    linear = 2 * shape.layers * shape.active_parameters
    attention = 4 * mean_length * shape.query_width * shape.layers
    head = 2 * shape.head_parameters * trained_share if work.logits else 0
    share = work.trainable_layers / shape.layers if work.tuning == "freeze" else 1.0
    weights = {"full": 3.0, "lora": 2.0, "freeze": 1 + 2 * share}[work.tuning] + work.checkpointing
    adapters = 6 * work.adapters * shape.lora_parameters(work.lora_rank) if work.tuning == "lora" else 0
    # The backward pass of attention makes its scores again: 2.5 times the forward pass.
    passes = 1 + 2.5 * share + work.checkpointing
    frozen_head = work.tuning == "lora" and not work.embeddings
    return linear * weights + adapters + attention * passes + head * (2 if frozen_head else 3)


def reading_flops(shape: Shape, *, mean_length: float, head_share: float) -> float:
    """Floating-point operations per token of one pass that nothing is learned from; ``head_share`` of the tokens
    have logits."""
    attention = 4 * mean_length * shape.query_width * shape.layers
    return 2 * shape.layers * shape.active_parameters + attention + 2 * shape.head_parameters * head_share
