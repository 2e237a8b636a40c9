"""Forgetful causal masking (arXiv 2210.13432): while training, past tokens are hidden at random."""

from typing import Any

import torch
from torch import Tensor, nn

from xinglin.data.packing import Packed
from xinglin.models.packed import PackedModel


class Forgetting:
    """From now on, tokens do not see all that came before them in training passes of ``model``.

    As in the code of Chain of Hindsight (arXiv 2302.02676): every sequence draws a share from [0, ``most``], and each
    of its tokens fails to see each earlier one with that probability, the same ones in all layers and heads. All see
    themselves and the first. Evaluation, and passes without gradient, hide nothing.
    """

    def __init__(self, model: PackedModel, *, most: float):
        self.most = most
        model.register_forward_pre_hook(self._hide, with_kwargs=True)

    def _hide(
        self, model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not model.training or not torch.is_grad_enabled():
            return None
        packed: Packed = inputs[0] if inputs else named["packed"]
        seen = tuple(self._draw(length, packed.input_ids.device) for length in packed.lengths)
        return (packed._replace(seen=seen),), {
            name: value for name, value in named.items() if name != "packed"
        }

    def _draw(self, length: int, device: torch.device) -> Tensor:
        """(length, length), True where the token of a row sees that of a column."""
        share = self.most * torch.rand((), device=device)
        seen = torch.rand(length, length, device=device) >= share
        seen[:, :1] = True
        return (seen | torch.eye(length, dtype=torch.bool, device=device)).tril()
