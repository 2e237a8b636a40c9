"""A causal language model seen as a function from packed sequences to the log-probabilities of trained tokens.

Logits are made for trained positions only, a slice at a time, so that the (tokens x vocabulary) matrix of the
usual loss never exists.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from xinglin.data.packing import Packed
from xinglin.models.attention import is_packing, packed_inputs

SLICE = 1024
"""Trained tokens whose logits exist at one time."""


class PackedModel(nn.Module):
    """Wraps ``model`` (with or without a LoRA adapter) so that data-parallel wrappers see one ``forward``.

    It is built outside of ``packed_attention(model)``. Called within, it takes all sequences in one pass; called
    outside, one after another in the model's own attention.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.plain_head = self._head_is_plain()

    @property
    def core(self) -> PreTrainedModel:
        """The transformers model, adapters and all, without PEFT's wrapper."""
        model: Any = self.model
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def forward(self, packed: Packed, *, want: str = "nll") -> Tensor:
        """``nll``: scalar, the summed negative log-likelihood. ``log_probs``: (M,), one per trained token."""
        if is_packing(self.core):
            return self._pass(packed, want)
        parts = [self._pass(one, want) for one in packed.apart()]
        return torch.stack(parts).sum() if want == "nll" else torch.cat(parts)

    def _pass(self, packed: Packed, want: str) -> Tensor:
        with packed_inputs(self.core, packed) as inputs:
            if not self.plain_head:
                logits = self.core(**inputs, logits_to_keep=packed.predictors).logits[0].float()
                chosen = logits.log_softmax(-1).gather(-1, packed.targets[:, None])[:, 0]
                return -chosen.sum() if want == "nll" else chosen
            hidden = self.core.base_model(**inputs).last_hidden_state[0, packed.predictors]
        head: Any = self.core.get_output_embeddings()
        weight: Tensor = head.weight
        if want == "nll":
            return linear_nll(hidden, weight, packed.targets)
        return linear_log_probs(hidden, weight, packed.targets)

    @torch.no_grad()
    def _head_is_plain(self) -> bool:
        """Whether logits are hidden states times one matrix; tried out, since configs tell it in many ways."""
        head = self.core.get_output_embeddings()
        if type(head) is not nn.Linear or head.bias is not None or type(head.weight) is not nn.Parameter:
            return False
        ids = torch.arange(4, device=head.weight.device)[None]
        training = self.core.training
        self.core.eval()
        logits = self.core(input_ids=ids, use_cache=False).logits
        hidden = self.core.base_model(input_ids=ids, use_cache=False).last_hidden_state
        self.core.train(training)
        return bool(torch.allclose(logits.float(), head(hidden).float(), rtol=1e-2, atol=1e-3))


class _LinearNll(torch.autograd.Function):
    """Summed cross-entropy of ``hidden @ weight.T`` whose gradient is made in the forward pass, slice by slice."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        matrix = weight.to(dtype)
        want_hidden, want_weight, _ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if want_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if want_weight else None
        total = torch.zeros((), device=hidden.device, dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(targets), SLICE):
                part = slice(start, start + SLICE)
                rows, wanted = hidden[part].to(dtype), targets[part, None]
                logits = (rows @ matrix.T).float()
                log_sum = logits.logsumexp(-1, keepdim=True)
                total += (log_sum - logits.gather(-1, wanted)).sum()
                if not (want_hidden or want_weight):
                    continue
                slope = logits.sub_(log_sum).exp_()
                slope.scatter_add_(-1, wanted, torch.full_like(wanted, -1, dtype=slope.dtype))
                slope = slope.to(dtype)
                if grad_hidden is not None:
                    grad_hidden[part] = slope @ matrix
                if grad_weight is not None:
                    grad_weight += slope.T @ rows
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        return (
            None if grad_hidden is None else grad_hidden * scale.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * scale).to(ctx.weight_dtype),
            None,
        )


def linear_nll(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood of ``targets`` (M,) under ``hidden`` (M, H) @ ``weight`` (V, H) transposed."""
    result: Tensor = _LinearNll.apply(hidden, weight, targets)
    return result


def linear_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """(M,) log-probabilities of ``targets``; the logits of a slice are made again in the backward pass."""

    def one(rows: Tensor, wanted: Tensor) -> Tensor:
        logits = nn.functional.linear(rows, weight.to(rows.dtype)).float()
        return logits.gather(-1, wanted[:, None])[:, 0] - logits.logsumexp(-1)

    slices = [slice(start, start + SLICE) for start in range(0, len(targets), SLICE)]
    if not torch.is_grad_enabled():
        parts = [one(hidden[part], targets[part]) for part in slices]
    else:
        parts = [checkpoint(one, hidden[part], targets[part], use_reentrant=False) for part in slices]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def sequence_sums(log_probs: Tensor, packed: Packed) -> Tensor:
    """(S,) sum of the (M,) log-probabilities of each sequence."""
    return log_probs.new_zeros(len(packed.lengths)).index_add(0, packed.owners, log_probs)
