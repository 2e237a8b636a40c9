"""Forecast of a training stage's peak memory, from the sizes in a config alone.

Terms and constants follow the usual accounting of weights, optimizer state, activations per token and layer, and
logits (e.g. Korthikanti et al., arXiv 2205.05198, adapted to gated MLPs and grouped keys and values).
"""

from dataclasses import dataclass
from typing import Any

from xinglin.runtime.units import bytes_text

_PLAIN_MLP = ("bloom", "falcon", "gpt2", "gpt_neox", "opt", "phi")


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that memory depends on."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int
    query_width: int
    key_value_width: int
    tied: bool
    mlp_matrices: int = 3
    """3 for a gated MLP, 2 for a plain one."""

    @staticmethod
    def of(config: Any) -> "Shape":
        """From a transformers config, whatever its names are."""
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return Shape(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            vocabulary=config.vocab_size,
            query_width=heads * width,
            key_value_width=(getattr(config, "num_key_value_heads", None) or heads) * width,
            tied=bool(getattr(config, "tie_word_embeddings", False)),
            mlp_matrices=2 if config.model_type in _PLAIN_MLP else 3,
        )

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden * (2 * self.query_width + 2 * self.key_value_width)
        return attention + self.mlp_matrices * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        """All of them, norms left out."""
        return self.layers * self.layer_parameters + (1 if self.tied else 2) * self.vocabulary * self.hidden

    def lora_parameters(self, rank: int) -> int:
        """An adapter on every linear layer but the head."""
        attention = 2 * (self.hidden + self.query_width) + 2 * (self.hidden + self.key_value_width)
        return self.layers * rank * (attention + self.mlp_matrices * (self.hidden + self.intermediate))


@dataclass(frozen=True)
class Forecast:
    """Peak bytes by term."""

    weights: int
    training_state: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.training_state + self.activations + self.logits

    def __str__(self) -> str:
        terms = {
            "weights": self.weights,
            "gradients and optimizer": self.training_state,
            "activations": self.activations,
            "logits": self.logits,
        }
        largest = max(terms, key=lambda name: terms[name])
        return f"{bytes_text(self.total)} (most of it {largest}: {bytes_text(terms[largest])})"


def forecast(
    shape: Shape,
    *,
    tokens: int,
    tuning: str,
    lora_rank: int = 8,
    trainable_layers: int = 2,
    weight_bytes: int = 4,
    activation_bytes: int = 4,
    checkpointing: bool = False,
) -> Forecast:
    """Peak memory of one optimizer step.

    Args:
        shape: the model.
        tokens: in one forward pass (``micro_batch_tokens``).
        tuning: ``full``, ``lora`` or ``freeze``.
        weight_bytes: per frozen weight; trained ones take 4, and 12 more for gradient and two moments.
        activation_bytes: per activation: 2 under bf16, 4 in fp32.
        checkpointing: only layer inputs are kept, and one layer's activations.
    """
    head = shape.vocabulary * shape.hidden
    trained = {
        "full": shape.parameters,
        "lora": shape.lora_parameters(lora_rank),
        "freeze": trainable_layers * shape.layer_parameters + head,
    }[tuning]
    frozen = shape.parameters if tuning == "lora" else shape.parameters - trained
    per_layer = (
        6.6 * shape.hidden + 2 * shape.query_width + 2 * shape.key_value_width + 4 * shape.intermediate
    )
    kept_layers = trainable_layers if tuning == "freeze" else shape.layers
    if checkpointing:
        activations = tokens * (shape.layers * shape.hidden + per_layer)
    else:
        activations = tokens * kept_layers * per_layer
    return Forecast(
        weights=frozen * weight_bytes + trained * 4,
        training_state=trained * 12,
        activations=int(activations * activation_bytes),
        logits=min(tokens, 1024) * shape.vocabulary * 12,
    )
