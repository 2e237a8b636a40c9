"""Merge a stack of adapters into the full model below it, and prove that nothing changed on the way."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from xinglin.errors import ModelError
from xinglin.models.adapter import read_base, stack
from xinglin.models.load import load_model

PROBE_TOKENS = 48
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.03}
"""Largest logit difference, in standard deviations of the logits, that rounding to the type explains."""


class MergeCheck(NamedTuple):
    adapters: list[str]
    """Lowest first."""
    max_logit_difference: float
    """Between the saved merged model and the unmerged stack, in standard deviations of the logits."""
    adapter_effect: float
    """Between the unmerged stack and the base below it, in the same unit."""


def merge_stack(spec: str, out: Path, *, dtype: torch.dtype) -> MergeCheck:
    """Merge in float32, cast, save to ``out``, load it again and compare.

    Raises:
        ModelError: ``spec`` is no adapter, an adapter changes nothing, or merged and unmerged differ.
    """
    order = stack(spec)
    if len(order) == 1:
        raise ModelError(f"{spec}: is a full model already; merge takes an adapter")
    merged, tokenizer = load_model(spec, dtype=torch.float32)
    merged.to(dtype).save_pretrained(out)  # type: ignore[arg-type]
    tokenizer.save_pretrained(out)
    del merged
    saved = load_model(str(out), dtype=torch.float32).model
    probe = _probe(saved)
    merged_logits = _logits(saved, probe)
    del saved
    base, stacked = _unmerged_logits(order, probe)
    scale = stacked.std().clamp_min(1e-6)
    check = MergeCheck(
        order[1:],
        float((merged_logits - stacked).abs().max() / scale),
        float((stacked - base).abs().max() / scale),
    )
    if check.adapter_effect == 0:
        raise ModelError(f"{order[1:]}: the adapters change nothing; were they trained?")
    if not check.max_logit_difference < TOLERANCE[dtype]:
        raise ModelError(
            f"{out}: merged logits differ from the adapters' by {check.max_logit_difference:.3g} standard deviations, "
            f"more than rounding to {dtype} explains; merge in float32"
        )
    return check


def _probe(model: PreTrainedModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    embedding: Any = model.get_input_embeddings()
    return torch.randint(embedding.weight.shape[0], (4, PROBE_TOKENS), generator=generator)


@torch.no_grad()
def _logits(model: torch.nn.Module, probe: Tensor) -> Tensor:
    result: Tensor = model.eval()(input_ids=probe, use_cache=False).logits.float()
    return result


def _unmerged_logits(order: list[str], probe: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the base, and of the base with every adapter of the stack active at once, unmerged."""
    folder = Path(order[1])
    seed = read_base(folder).seed
    base = load_model(order[0], tokenizer_folder=folder, seed=seed, dtype=torch.float32).model
    plain = _logits(base, probe)
    wrapped: Any = PeftModel.from_pretrained(base, order[1], adapter_name="0")
    for number, adapter in enumerate(order[2:], start=1):
        wrapped.load_adapter(adapter, adapter_name=str(number))
    wrapped.base_model.set_adapter([str(number) for number in range(len(order) - 1)])
    return plain, _logits(wrapped, probe)
