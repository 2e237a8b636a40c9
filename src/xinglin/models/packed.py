"""A causal language model seen as a function from packed sequences to the log-probabilities of trained tokens.

Logits are made for trained positions only, a slice at a time, so that the (tokens x vocabulary) matrix of the
usual loss never exists.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from xinglin.data.packing import Packed
from xinglin.models.attention import is_packing, packed_inputs
from xinglin.models.last_layer import narrow_last_layer

SLICE = 1024
"""Trained tokens whose logits exist at one time, at most."""
CPU_SLICE = 256
"""The same on CPU, where they are then still in the cache when they are read again: a fifth faster."""
KEPT_BYTES = 1 << 26
"""A head's slopes of one pass are kept for its gradient up to this size."""


class PackedModel(nn.Module):
    """Wraps ``model`` (with or without a LoRA adapter) so that data-parallel wrappers see one ``forward``.

    It is built outside of ``packed_attention(model)``. Called within, it takes all sequences in one pass; called
    outside, one after another in the model's own attention.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.plain_head = self._head_is_plain()
        self.narrow = narrow_last_layer(self.core)

    @property
    def core(self) -> PreTrainedModel:
        """The transformers model, adapters and all, without PEFT's wrapper."""
        model: Any = self.model
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def forward(self, packed: Packed, *, want: str | tuple[str, ...] = "nll") -> Any:
        """What is wanted of ``packed``: one tensor for a name, a tuple of them for a tuple of names.

        nll: scalar, the negative log-likelihood summed over the trained tokens, times their weights if they have any.
        losses: (M,) what each trained token adds to nll, without gradient; wanted beside nll, it costs nothing.
        log_probs: (M,) of the trained tokens.
        entropy: (M,) of the distributions that they are predicted by, in nats.
        hidden: (M, H) last hidden states that they are predicted from.
        last_hidden: (S, H) those of the last token of each sequence.
        scores: (S,) what a reward model's head makes of them, in float32.
        """
        wants = (want,) if isinstance(want, str) else want
        if is_packing(self.core):
            results = self._pass(packed, wants)
        else:
            passes = [self._pass(one, wants) for one in packed.apart()]
            results = tuple(
                torch.stack(parts).sum() if name == "nll" else torch.cat(parts)
                for name, parts in zip(wants, zip(*passes, strict=True), strict=True)
            )
        return results[0] if isinstance(want, str) else results

    def _pass(self, packed: Packed, wants: tuple[str, ...]) -> tuple[Tensor, ...]:
        read_by_head = {"nll", "losses", "log_probs", "entropy"} & set(wants)
        with packed_inputs(self.core, packed) as inputs:
            if self.plain_head or not read_by_head:
                places = {}
                if read_by_head or "hidden" in wants:
                    places["hidden"] = packed.predictors
                if {"last_hidden", "scores"} & set(wants):
                    places["last_hidden"] = packed.last
                found = self._hidden(inputs, places)
                if read_by_head:
                    found |= self._read_hidden(found["hidden"], packed, read_by_head)
            else:
                states, logits = self._own_logits(inputs, packed)
                found = _read_logits(logits, packed, set(wants))
                found |= {"hidden": states[packed.predictors], "last_hidden": states[packed.last]}
        if "scores" in wants:
            found["scores"] = read_scores(self.core.score, found["last_hidden"])
        return tuple(found[name] for name in wants)

    def _hidden(self, inputs: dict[str, Any], places: dict[str, Tensor]) -> dict[str, Tensor]:
        """The last hidden states at ``places``, by their names."""
        if not (self.narrow and is_packing(self.core)):
            states = self.core.base_model(**inputs).last_hidden_state[0]
            return {name: states[place] for name, place in places.items()}
        read = torch.cat(list(places.values()))
        states = self.core.base_model(**inputs, read=read).last_hidden_state[0]
        return dict(zip(places, states.split([len(place) for place in places.values()]), strict=True))

    def _read_hidden(self, hidden: Tensor, packed: Packed, wants: set[str]) -> dict[str, Tensor]:
        head: Any = self.core.get_output_embeddings()
        weight: Tensor = head.weight
        found = {}
        if wants & {"nll", "losses"}:
            found["nll"], found["losses"] = linear_nll(hidden, weight, packed.targets, packed.weights)
        if "entropy" in wants:
            found["log_probs"], found["entropy"] = linear_log_probs_and_entropy(
                hidden, weight, packed.targets
            )
        elif "log_probs" in wants:
            found["log_probs"] = linear_log_probs(hidden, weight, packed.targets)
        return found

    def _own_logits(self, inputs: dict[str, Any], packed: Packed) -> tuple[Tensor, Tensor]:
        """(T, H) last hidden states and (M, V) logits, as the model itself makes them."""
        seen: list[Tensor] = []
        backbone: Any = self.core.base_model
        hook = backbone.register_forward_hook(lambda *call: seen.append(call[-1].last_hidden_state[0]))
        try:
            logits = self.core(**inputs, logits_to_keep=packed.predictors).logits[0]
        finally:
            hook.remove()
        return seen[0], logits

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


def read_scores(head: Any, last_hidden: Tensor) -> Tensor:
    """(S,) scores of (S, H) hidden states, in float32: differences of scores are small beside bf16's steps."""
    with torch.autocast(last_hidden.device.type, enabled=False):
        scores: Tensor = head(last_hidden.float())[:, 0]
    return scores


def _read_logits(logits: Tensor, packed: Packed, wants: set[str]) -> dict[str, Tensor]:
    """``PackedModel._read_hidden`` for (M, V) logits that exist."""
    logits = logits.float()
    log_probs = _log_probs(logits, packed.targets)
    losses = -(log_probs if packed.weights is None else log_probs * packed.weights)
    found = {"nll": losses.sum(), "losses": losses.detach(), "log_probs": log_probs}
    if "entropy" in wants:
        found["entropy"] = _entropy(logits)
    return found


def _log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)


def _entropy(logits: Tensor) -> Tensor:
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


class _LinearNll(torch.autograd.Function):
    """Summed cross-entropy of ``hidden @ weight.T`` whose gradient is made in the forward pass, slice by slice."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        kind, dtype = hidden.device.type, _product_dtype(hidden)
        matrix = weight.to(dtype)
        want_hidden, want_weight, *_ = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if want_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if want_weight else None
        every = torch.empty(len(targets), device=hidden.device, dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            for part in _slices(targets):
                rows, wanted = hidden[part].to(dtype), targets[part, None]
                scale = None if scales is None else scales[part, None]
                log_probs = (rows @ matrix.T).float().log_softmax(-1)
                losses = -log_probs.gather(-1, wanted)
                every[part] = (losses if scale is None else losses * scale)[:, 0]
                if not (want_hidden or want_weight):
                    continue
                slope = _slope(log_probs, wanted)
                slope = (slope if scale is None else slope.mul_(scale)).to(dtype)
                if grad_hidden is not None:
                    grad_hidden[part] = slope @ matrix
                if grad_weight is not None:
                    grad_weight += slope.T @ rows
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(every)
        return every.sum(), every

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        return (
            None if grad_hidden is None else grad_hidden * scale.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * scale).to(ctx.weight_dtype),
            None,
            None,
        )


def linear_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of ``targets`` (M,) under ``hidden`` (M, H) @ ``weight`` (V, H) transposed.

    ``scales`` (M,), if given, multiply the loss of each target.

    Returns:
        The sum, and (M,) what each target adds to it, without gradient.
    """
    total, losses = _LinearNll.apply(hidden, _recorded(weight), targets, scales)
    return total, losses


class _LinearLogProbs(torch.autograd.Function):
    """Log-probabilities whose gradient for ``hidden``, but for one factor per token, is made in the forward pass.

    A head that is trained needs that factor first. What its gradient is made from is kept until then if it is small,
    else made again.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        kind, dtype = hidden.device.type, _product_dtype(hidden)
        matrix = weight.to(dtype)
        want_hidden, want_weight, _ = ctx.needs_input_grad
        keep = want_weight and len(targets) * len(matrix) * matrix.element_size() <= KEPT_BYTES
        fall = torch.empty_like(hidden) if want_hidden else None
        slopes = []
        found = torch.empty(len(targets), device=hidden.device, dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            for part in _slices(targets):
                wanted = targets[part, None]
                log_probs = (hidden[part].to(dtype) @ matrix.T).float().log_softmax(-1)
                found[part] = log_probs.gather(-1, wanted)[:, 0]
                if not (want_hidden or keep):
                    continue
                slope = _slope(log_probs, wanted).to(dtype)
                if fall is not None:
                    fall[part] = slope @ matrix
                if keep:
                    slopes.append(slope)
        ctx.save_for_backward(fall, *((hidden, weight, targets, *slopes) if want_weight else ()))
        ctx.product_dtype = dtype
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        fall, *trained = ctx.saved_tensors
        factors = -grads[0][:, None]
        grad_hidden = None if fall is None else fall * factors.to(fall.dtype)
        if not trained:
            return grad_hidden, None, None
        hidden, weight, targets, *slopes = trained
        dtype = ctx.product_dtype
        matrix = weight.to(dtype)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            for number, part in enumerate(_slices(targets)):
                if slopes:
                    slope = slopes[number]
                else:
                    log_probs = (hidden[part].to(dtype) @ matrix.T).float().log_softmax(-1)
                    slope = _slope(log_probs, targets[part, None]).to(dtype)
                grad_weight += slope.T @ (hidden[part] * factors[part]).to(dtype)
        return grad_hidden, grad_weight.to(weight.dtype), None


def _product_dtype(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _recorded(weight: Tensor) -> Tensor:
    """``weight`` as a function is to see it, which is told that it needs a gradient even where none is recorded."""
    return weight if torch.is_grad_enabled() else weight.detach()


def _slices(targets: Tensor) -> list[slice]:
    size = CPU_SLICE if targets.device.type == "cpu" else SLICE
    return [slice(start, start + size) for start in range(0, len(targets), size)]


def _slope(log_probs: Tensor, targets: Tensor) -> Tensor:
    """(M, V) gradient of the negative log-likelihoods for the logits, in place of ``log_probs``."""
    return log_probs.exp_().scatter_add_(-1, targets, log_probs.new_full(targets.shape, -1))


def linear_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """(M,) log-probabilities of ``targets`` (M,) under ``hidden`` (M, H) @ ``weight`` (V, H) transposed."""
    result: Tensor = _LinearLogProbs.apply(hidden, _recorded(weight), targets)
    return result


def linear_log_probs_and_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """As ``linear_log_probs``, and (M,) the entropy in nats of each distribution.

    The logits of a slice are made again in the backward pass.
    """

    def one(rows: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        logits = nn.functional.linear(rows, weight.to(rows.dtype)).float()
        return _log_probs(logits, wanted), _entropy(logits)

    kept = partial(checkpoint, one, use_reentrant=False) if torch.is_grad_enabled() else one
    parts = [kept(hidden[part], targets[part]) for part in _slices(targets) or [slice(0)]]
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def sequence_sums(log_probs: Tensor, packed: Packed) -> Tensor:
    """(S,) sum of the (M,) log-probabilities of each sequence."""
    return log_probs.new_zeros(len(packed.lengths)).index_add(0, packed.owners, log_probs)
