"""Attention that never crosses from one packed sequence into the next.

An entry in transformers' attention registry: on CUDA one call of ``torch.nn.attention.varlen`` (FlashAttention,
inside torch), elsewhere one causal SDPA call per sequence. Both cost sum(length²) instead of (sum length)², and no
mask is ever built. Architectures with an attention of their own (Bloom's ALiBi) get a block-diagonal mask.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from xinglin.data.packing import Packed
from xinglin.errors import ModelError

PER_SEQUENCE = "xinglin_per_sequence"
BLOCK_DIAGONAL = "xinglin_block_diagonal"
_OWN_ATTENTION = ("bloom",)
_batch: ContextVar[Packed] = ContextVar("packed_batch")


def per_sequence_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Packed,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """query (1, heads, T, width), key and value (1, key-value heads, T, width) -> (1, T, heads, width)."""
    grouped = key.shape[1] != query.shape[1]
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and not dropout:
        return _varlen(query, key, value, packed, scaling, sliding_window, grouped), None
    pieces = []
    spans = zip(
        query.split(packed.lengths, dim=2),
        key.split(packed.lengths, dim=2),
        value.split(packed.lengths, dim=2),
        strict=True,
    )
    for part_query, part_key, part_value in spans:
        length = part_query.shape[2]
        window = (
            _window_mask(length, sliding_window, query.device)
            if sliding_window and length > sliding_window
            else None
        )
        pieces.append(
            scaled_dot_product_attention(
                part_query,
                part_key,
                part_value,
                attn_mask=window,
                dropout_p=dropout,
                is_causal=window is None,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous(), None


def _varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: Packed,
    scaling: float | None,
    window: int | None,
    grouped: bool,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    longest = max(packed.lengths)
    out: Any = varlen_attn(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1).contiguous(),
        value[0].transpose(0, 1).contiguous(),
        packed.boundaries,
        packed.boundaries,
        longest,
        longest,
        scale=scaling,
        window_size=(window - 1 if window else -1, 0),
        enable_gqa=grouped,
    )
    result: Tensor = out[None]
    return result


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    return (distance >= 0) & (distance < window)


def block_diagonal_mask(*, dtype: torch.dtype = torch.float32, **unused: Any) -> Tensor:
    """(1, 1, T, T): 0 within a sequence up to the present, the lowest float elsewhere."""
    packed = _batch.get()
    device = packed.input_ids.device
    owner = torch.repeat_interleave(torch.tensor(packed.lengths, device=device))
    same = owner[:, None] == owner[None, :]
    allowed = same.tril()
    return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )[None, None]


AttentionInterface.register(PER_SEQUENCE, per_sequence_attention)
AttentionMaskInterface.register(BLOCK_DIAGONAL, block_diagonal_mask)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, ``forward`` calls of ``model`` must go through ``packed_inputs``; generation is as usual outside."""
    before = str(model.config._attn_implementation)
    _use(model, BLOCK_DIAGONAL if quadratic(model) else PER_SEQUENCE)
    try:
        yield
    finally:
        _use(model, before)


def _use(model: PreTrainedModel, implementation: str) -> None:
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.config._attn_implementation = implementation


def is_packing(model: PreTrainedModel) -> bool:
    """Whether ``model`` is within ``packed_attention``; outside, a forward pass takes one sequence."""
    return model.config._attn_implementation in (PER_SEQUENCE, BLOCK_DIAGONAL)


@contextmanager
def packed_inputs(model: PreTrainedModel, packed: Packed) -> Iterator[dict[str, Any]]:
    """The keyword arguments with which ``model`` reads ``packed``: one sequence, unless it ``is_packing``."""
    if not is_packing(model):
        yield {"input_ids": packed.input_ids, "use_cache": False}
        return
    if not quadratic(model):
        yield {
            "input_ids": packed.input_ids,
            "position_ids": packed.position_ids,
            "use_cache": False,
            "packed": packed,
        }
        return
    token = _batch.set(packed)
    backbone: Any = model.base_model
    backbone.build_alibi_tensor = _alibi_by_position
    try:
        ones = torch.ones_like(packed.input_ids)
        yield {"input_ids": packed.input_ids, "attention_mask": ones, "use_cache": False}
    finally:
        del backbone.build_alibi_tensor
        _batch.reset(token)


def _alibi_by_position(attention_mask: Tensor, num_heads: int, dtype: torch.dtype) -> Tensor:
    """ALiBi (arXiv 2108.12409) with positions that restart in every sequence: (heads, 1, T)."""
    from transformers.models.bloom.modeling_bloom import _get_alibi_slopes

    positions = _batch.get().position_ids[0]
    return (_get_alibi_slopes(num_heads, positions.device)[:, None, None] * positions).to(dtype)


def check_isolation(model: PreTrainedModel) -> None:
    """Refuse a model that is not ``isolated``.

    Raises:
        ModelError: packing would change what this architecture computes.
    """
    if not isolated(model):
        raise ModelError(
            f"architecture '{model.config.model_type}': packed sequences would see each other, or lose a part of "
            f"the model's own attention; set 'packing: false' in this stage"
        )


def quadratic(model: PreTrainedModel) -> bool:
    """Whether packing costs memory for the square of all tokens, since the model needs a block-diagonal mask."""
    return model.config.model_type in _OWN_ATTENTION


@torch.no_grad()
def isolated(model: PreTrainedModel) -> bool:
    """Whether two short sequences, packed, get the logits that the model's own attention gives each alone."""
    from xinglin.data.packing import pack_sequences

    device = next(model.parameters()).device
    embedding: Any = model.get_input_embeddings()
    vocabulary = int(embedding.weight.shape[0])
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randint(vocabulary, (length,), generator=generator).numpy() for length in (11, 7)]
    packed = pack_sequences([(ids, ids > -1) for ids in parts]).to(device)
    training = model.training
    model.eval()
    try:
        own = [model(input_ids=one.input_ids, use_cache=False).logits for one in packed.apart()]
        with packed_attention(model), packed_inputs(model, packed) as inputs:
            joint = model(**inputs).logits
    except (AttributeError, TypeError):  # an attention that needs a mask of its own making (MPT, Falcon)
        return False
    finally:
        model.train(training)
    plain = torch.cat(own, 1).float()
    tolerance = 1e-4 if joint.dtype == torch.float32 else 0.05
    return bool((joint.float() - plain).abs().max() < tolerance * plain.std().clamp_min(1e-6))
