"""Attention that never crosses from one packed sequence into the next.

An entry in transformers' attention registry: on CUDA one call of ``torch.nn.attention.varlen`` (FlashAttention,
inside torch), elsewhere one causal SDPA call per sequence. Both cost sum(length²) instead of (sum length)², and no
mask of all tokens is ever built. Architectures with an attention of their own (Bloom's ALiBi) get one.

Sequences that share a beginning (``Packed.shared``) query with their own tokens and have those of their head as
further keys before their own. Where tokens are hidden at random (``Packed.seen``), each sequence has a mask of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from xinglin.data.packing import Packed, pack_groups, pack_sequences
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
    asked: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """query (1, heads, T, width), key and value (1, key-value heads, T, width) -> (1, T, heads, width).

    ``asked`` are the positions whose result is read, if not all; what other positions get may be 0.
    """
    if packed.seen and key.shape[1] != query.shape[1]:  # no fast kernel takes both a mask and grouped heads
        key, value = (each.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for each in (key, value))
    grouped = key.shape[1] != query.shape[1]
    if query.is_cuda and torch.is_autocast_enabled("cuda"):
        # Norms and rotary angles in float32, as with full tuning, leave queries and keys in float32.
        half = torch.get_autocast_dtype("cuda")
        query, key, value = (each.to(half) for each in (query, key, value))
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and not (dropout or packed.seen):
        return _varlen(query, key, value, packed, scaling, sliding_window, grouped), None
    options = {"dropout_p": dropout, "scale": scaling, "enable_gqa": grouped}
    if query.is_cuda:
        return _one_by_one(query, key, value, packed, sliding_window, options), None
    skipped = _skipped(packed, asked) if asked is not None else None
    # On CPU, the backward pass in bf16 takes up to three times as long as in float32.
    precise = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        wide = _one_by_one(
            query.to(precise), key.to(precise), value.to(precise), packed, sliding_window, options, skipped
        )
    return wide.to(query.dtype), None


def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: Packed,
    window: int | None,
    options: dict[str, Any],
    skipped: list[int] | None = None,
) -> Tensor:
    keys, values = _complete(key, packed), _complete(value, packed)
    count = len(packed.lengths)
    pieces = []
    for own, own_keys, own_values, seen, skip in zip(
        query.split(packed.lengths, dim=2),
        keys,
        values,
        packed.seen or (None,) * count,
        skipped or (0,) * count,
        strict=True,
    ):
        mask = _mask(own.shape[2] - skip, own_keys.shape[2], window, query.device)
        if seen is not None:
            mask = seen[skip:] if mask is None else seen[skip:] & mask
        found = scaled_dot_product_attention(
            own[:, :, skip:], own_keys, own_values, attn_mask=mask, is_causal=mask is None, **options
        )
        pieces.append(pad(found, (0, 0, skip, 0)) if skip else found)
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous()


def _skipped(packed: Packed, asked: Tensor) -> list[int]:
    """(S,) how many queries to leave out at the beginning of each sequence.

    All before the first one asked for, if they are most of it: a mask, which the others then need, costs as much as
    half of the plainly causal ones.
    """
    first = np.array(packed.lengths) - 1
    places = asked.numpy()
    owners = np.searchsorted(packed.boundaries.numpy(), places, side="right") - 1
    np.minimum.at(first, owners, places - packed.boundaries.numpy()[owners])
    return [
        skip if 2 * skip > length else 0 for skip, length in zip(first.tolist(), packed.lengths, strict=True)
    ]


def _complete(states: Tensor, packed: Packed) -> list[Tensor]:
    """(1, heads, T, width) -> the states of each sequence, those in its head included."""
    own = list(states.split(packed.lengths, dim=2))
    if not packed.shared:
        return own
    return [
        torch.cat([own[head][:, :, :shared], part], dim=2) if shared else part
        for head, shared, part in zip(packed.heads, packed.shared, own, strict=True)
    ]


def _mask(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor | None:
    """(queries, keys), True where a query may look; the queries are the last of the keys. None: plainly causal."""
    window = window or keys
    if queries == keys <= window:
        return None
    position = torch.arange(keys, device=device)
    distance = position[-queries:, None] - position
    return (distance >= 0) & (distance < window)


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

    query, key, value = (states[0].transpose(0, 1).contiguous() for states in (query, key, value))
    longest = longest_keys = max(packed.lengths)
    key_boundaries = packed.boundaries
    if packed.shared:
        key, value = (states.index_select(0, packed.key_index) for states in (key, value))
        key_boundaries = packed.key_boundaries
        longest_keys = max(map(add, packed.lengths, packed.shared))
    # FlashAttention aligns causality and windows to the last query and the last key, as sequences with a shared
    # beginning need it: query i of q sees keys up to k - q + i.
    out: Any = varlen_attn(
        query,
        key,
        value,
        packed.boundaries,
        key_boundaries,
        longest,
        longest_keys,
        scale=scaling,
        window_size=(window - 1 if window else -1, 0),
        enable_gqa=grouped,
    )
    result: Tensor = out[None]
    return result


def block_diagonal_mask(*, dtype: torch.dtype = torch.float32, **unused: Any) -> Tensor:
    """(1, 1, T, T): 0 within a sequence up to the present and in what it shares, the lowest float elsewhere."""
    packed = _batch.get()
    device = packed.input_ids.device
    lengths = torch.tensor(packed.lengths, device=device)
    owner = torch.arange(len(lengths), device=device).repeat_interleave(
        lengths, output_size=sum(packed.lengths)
    )
    allowed = (owner[:, None] == owner).tril()
    if packed.shared:
        head = torch.tensor(packed.heads, device=device)[owner]
        shared = torch.tensor(packed.shared, device=device)[owner]
        allowed |= (head[:, None] == owner) & (packed.position_ids[0] < shared[:, None])
    if packed.seen:
        allowed = torch.block_diag(*packed.seen)
    return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )[None, None]


AttentionInterface.register(PER_SEQUENCE, per_sequence_attention)
AttentionMaskInterface.register(BLOCK_DIAGONAL, block_diagonal_mask)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, ``forward`` calls of ``model`` must go through ``packed_inputs``; generation is as usual outside."""
    with attention(model, BLOCK_DIAGONAL if quadratic(model) else PER_SEQUENCE):
        yield


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Within, ``model`` computes attention by that entry of transformers' registry, such as its own one."""
    before = str(model.config._attn_implementation)
    _use(model, implementation)
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
def isolated(model: PreTrainedModel, *, share: bool = False) -> bool:
    """Whether two short sequences, packed, get the hidden states that the model's own attention gives each alone.

    ``share``: they begin with the same tokens, which are laid once.
    """
    device = next(model.parameters()).device
    embedding: Any = model.get_input_embeddings()
    vocabulary = int(embedding.weight.shape[0])
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randint(vocabulary, (length,), generator=generator).numpy() for length in (11, 7)]
    if share:
        parts[1] = np.concatenate([parts[0][:6], parts[1]])
    examples = [(ids, ids > -1) for ids in parts]
    packed = (pack_groups([examples]) if share else pack_sequences(examples)).to(device)
    training = model.training
    model.eval()
    try:
        read = model.base_model
        own = [read(input_ids=one.input_ids, use_cache=False).last_hidden_state[0] for one in packed.apart()]
        with packed_attention(model), packed_inputs(model, packed) as inputs:
            joint = read(**inputs).last_hidden_state[0].float()
    except (AttributeError, TypeError):  # an attention that needs a mask of its own making (MPT, Falcon)
        return False
    finally:
        model.train(training)
    alone = torch.cat(own).float()
    if packed.shared:
        joint = joint[packed.key_index]
    tolerance = 1e-4 if own[0].dtype == torch.float32 else 0.05
    return bool((joint - alone).abs().max() < tolerance * alone.std().clamp_min(1e-6))
