"""Noise on input embeddings while training (NEFTune, arXiv 2310.05914)."""

from typing import Any

import torch
from torch import Tensor, nn

from xinglin.data.packing import Packed
from xinglin.models.packed import PackedModel


class Noise:
    """From now on, training passes of ``model`` see each embedding plus uniform noise within ±alpha / sqrt(L x H).

    L is the length of the token's own sequence, whatever it is packed with; H is the width. Evaluation, and passes
    without gradient, see none.
    """

    def __init__(self, model: PackedModel, *, alpha: float):
        self.alpha = alpha
        self._packed: Packed | None = None
        model.register_forward_pre_hook(self._remember, with_kwargs=True)
        embedding: Any = model.core.get_input_embeddings()
        embedding.register_forward_hook(self._disturb)

    def _remember(self, model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._packed = inputs[0] if inputs else named["packed"]

    def _disturb(self, embedding: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not embedding.training or not torch.is_grad_enabled() or self._packed is None:
            return None
        lengths = _token_lengths(self._packed, output)
        reach = self.alpha / (lengths * output.shape[2]).sqrt()
        noise = torch.empty_like(output, dtype=torch.float32).uniform_(-1, 1)
        return output + (noise * reach[:, None]).to(output.dtype)


def _token_lengths(packed: Packed, embedded: Tensor) -> Tensor:
    """(T,) float: the length of the sequence that each token belongs to."""
    tokens = embedded.shape[1]
    if tokens != sum(packed.lengths):  # without packing, sequences come one at a time
        return embedded.new_full((tokens,), tokens, dtype=torch.float32)
    own = torch.tensor(packed.lengths)
    complete = own + torch.tensor(packed.shared) if packed.shared else own
    return complete.repeat_interleave(own).to(embedded.device, torch.float32)
