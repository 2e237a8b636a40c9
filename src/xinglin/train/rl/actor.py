"""One trunk, several roles: the policy, the reference it must stay near, and the value of its states.

With LoRA the base is in memory once: the policy is the base with its adapter, the reference the base without, and the
value a head on the policy's hidden states or on those of an adapter of its own. Where the base itself is trained, the
reference is a frozen copy of it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import Tensor, nn

from xinglin.data.packing import Packed
from xinglin.errors import TrainingError
from xinglin.models.packed import PackedModel
from xinglin.models.trunk import using_adapter

VALUE = "value"
"""Name of the value's own adapter."""
Critic = Literal["shared", "adapter"]


class Actor(PackedModel):
    """A ``PackedModel`` of the policy that can also be asked for ``values``, (M,) of the states before each token.

    Args:
        model: the model as it is trained, with or without a LoRA adapter.
        temperature: of all probabilities; those of the sampling must be the ones that are compared.
        critic: where values come from; None: it has none.
        seed: of a value adapter's weights.
    """

    def __init__(self, model: nn.Module, *, temperature: float, critic: Critic | None, seed: int = 0):
        super().__init__(model)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # probabilities of the same weights are compared
        self.temperature = temperature
        self.critic = critic
        if critic:
            self.value_head = nn.Linear(int(self.core.config.hidden_size), 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
        if critic == "adapter":
            _add_value_adapter(model, seed=seed)

    def forward(self, packed: Packed, *, want: str | tuple[str, ...] = "nll") -> Any:
        wants = (want,) if isinstance(want, str) else want
        if "values" not in wants:
            return super().forward(packed, want=want)
        asked = tuple(name for name in wants if name != "values")
        found: dict[str, Tensor] = {}
        if self.critic == "shared":
            asked = (*asked, "hidden")
        if asked:
            found = dict(zip(asked, super().forward(packed, want=asked), strict=True))
        if self.critic == "adapter":
            with using_adapter(self.model, VALUE):
                found["hidden"] = super().forward(packed, want="hidden")
        with torch.autocast(packed.input_ids.device.type, enabled=False):
            found["values"] = self.value_head(found["hidden"].float())[:, 0]
        return found[want] if isinstance(want, str) else tuple(found[name] for name in wants)

    def _read_hidden(self, hidden: Tensor, packed: Packed, wants: set[str]) -> dict[str, Tensor]:
        # Logits are linear in the hidden states here.
        return super()._read_hidden(hidden / self.temperature, packed, wants)

    def _own_logits(self, inputs: dict[str, Any], packed: Packed) -> tuple[Tensor, Tensor]:
        states, logits = super()._own_logits(inputs, packed)
        return states, logits / self.temperature

    def drop_critic(self) -> None:
        """Leave the plain policy: what is saved for others has no value adapter."""
        if self.critic == "adapter":
            adapted: Any = self.model
            adapted.delete_adapter(VALUE)
        self.critic = None


class Reference:
    """The model that training started from, for as long as it goes on.

    Built before the first step and before any checkpoint is loaded.
    """

    def __init__(self, actor: Actor):
        self.copy: Actor | None = None
        self.actor = actor
        if not isinstance(actor.model, PeftModel):
            frozen = {id(each): each for each in actor.model.parameters() if not each.requires_grad}
            twin = copy.deepcopy(actor.model, memo=dict(frozen)).requires_grad_(False).eval()
            self.copy = Actor(twin, temperature=actor.temperature, critic=None)

    @contextmanager
    def on_duty(self) -> Iterator[Actor]:
        """The model to ask, while it is the reference."""
        if self.copy is not None:
            yield self.copy
            return
        with using_adapter(self.actor.model, None):
            yield self.actor


def _add_value_adapter(model: nn.Module, *, seed: int) -> None:
    if not isinstance(model, PeftModel):
        raise TrainingError("value adapter needs tuning lora; use value shared")
    if getattr(model.get_base_model(), "is_gradient_checkpointing", False):
        raise TrainingError(
            "value adapter needs gradient checkpointing off, which computes again with one adapter only; lower "
            "micro_batch_tokens and set gradient_checkpointing to off, or use value shared"
        )
    config = copy.deepcopy(model.peft_config["default"])
    config.modules_to_save, config.trainable_token_indices = None, None  # type: ignore[attr-defined]
    dtype = next(each for name, each in model.named_parameters() if ".lora_A.default" in name).dtype
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.add_adapter(VALUE, config)
    model.base_model.set_adapter("default")  # type: ignore[operator]
    for name, parameter in model.named_parameters():
        if f".{VALUE}." in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.to(dtype)
