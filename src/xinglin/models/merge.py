"""Merge adapters into the full model below them, or models with each other, and prove what was saved."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from xinglin.data.rendering import Renderer
from xinglin.errors import ModelError
from xinglin.models.adapter import is_adapter, is_reward_model, read_base, stack
from xinglin.models.blend import Blend, Recipe, blend_models, require_same_configs
from xinglin.models.embeddings import read_extension
from xinglin.models.load import load_model
from xinglin.models.reward import read_scale, write_scale
from xinglin.models.score_head import add_score_head, load_classifier
from xinglin.models.tensors import TensorReader
from xinglin.models.tokenizer import load_tokenizer

PROBE_TOKENS = 48
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.03}
"""Largest logit difference, in standard deviations of the logits, that rounding to the type explains."""


class MergeCheck(NamedTuple):
    adapters: list[str]
    """Lowest first."""
    max_logit_difference: float
    """Between the saved merged model and its uppermost adapter unmerged on what is below, or, if larger, between one
    of those below merged and unmerged; in standard deviations of the logits."""
    adapter_effect: float
    """Between the uppermost adapter, unmerged, and the full model below all of them, in the same unit; of a reward
    model, and a fresh head on what is below its adapter."""


def merge_stack(spec: str, out: Path, *, dtype: torch.dtype) -> MergeCheck:
    """Merge in float32, cast, save to ``out``, load it again and compare.

    A reward model's adapter gives a sequence classifier that knows its scale; its scores of every prefix are what is
    compared.

    Raises:
        ModelError: ``spec`` is no adapter, an adapter changes nothing, or merged and unmerged differ.
    """
    order = stack(spec)
    if len(order) == 1:
        raise ModelError(f"{spec}: is a full model already; merge takes an adapter")
    scores = is_reward_model(spec)
    load: Any = load_classifier if scores else load_model
    merged, tokenizer = load(spec, dtype=torch.float32)
    merged.to(dtype).save_pretrained(out)  # type: ignore[arg-type]
    tokenizer.save_pretrained(out)
    if extension := read_extension(Path(order[0])):
        extension.save(out)
    if scale := read_scale(Path(spec)):
        write_scale(out, scale)
    del merged
    saved = load(str(out), dtype=torch.float32).model
    probe = _probe(saved)
    merged_logits = _logits(saved, probe)
    del saved
    unmerged = _unmerged(order, probe, scores=scores)
    check = MergeCheck(
        order[1:],
        max(_difference(merged_logits, unmerged.stack), unmerged.below),
        _difference(unmerged.base, unmerged.stack),
    )
    if check.adapter_effect == 0:
        raise ModelError(f"{order[1:]}: the adapters change nothing; were they trained?")
    if not check.max_logit_difference < TOLERANCE[dtype]:
        raise ModelError(
            f"{out}: merged logits differ from the adapters' by {check.max_logit_difference:.3g} standard deviations, "
            f"more than rounding to {dtype} explains; merge in float32"
        )
    return check


def merge_models(
    base: str, models: list[str], recipe: Recipe, out: Path, *, scratch: Path, dtype: torch.dtype
) -> Blend:
    """Blend ``models`` with ``base``, tensor by tensor, into ``out``, in Hugging Face's layout.

    An adapter, a ``tiny:`` model, one without safetensors, and all if their tensors have different names, are first
    written to ``scratch`` as full models; only then is a whole model in memory.

    Raises:
        ModelError: the models differ in tokenizer, config or shapes.
    """
    tokenizer_folder = next((Path(model) for model in models if Path(model).is_dir()), None)
    folders = [
        _full_folder(spec, scratch / str(number), tokenizer_folder=tokenizer_folder)
        for number, spec in enumerate([base, *models])
    ]
    configs = [AutoConfig.from_pretrained(folder) for folder in folders]
    tokenizers = [load_tokenizer(str(folder)) for folder in folders]
    for spec, config, tokenizer in zip(models, configs[1:], tokenizers[1:], strict=True):
        if tokenizer.get_vocab() != tokenizers[0].get_vocab():
            raise ModelError(f"{base} and {spec} cannot be merged, their tokenizers differ")
        require_same_configs(configs[0], config, names=(base, spec))
    if len({frozenset(TensorReader(folder).shapes) for folder in folders}) > 1:
        # Published weights may hold a tied head, buffers or older names, which transformers leaves out or renames.
        folders = [_written_anew(str(path), scratch / f"{n}-anew") for n, path in enumerate(folders)]
    blend = blend_models(folders[0], folders[1:], recipe, out, dtype=dtype)
    configs[1].dtype = dtype
    configs[1].save_pretrained(out)
    tokenizers[1].save_pretrained(out)
    if extension := next(filter(None, (read_extension(Path(stack(spec)[0])) for spec in models)), None):
        extension.save(out)
    return blend


def _full_folder(spec: str, scratch: Path, *, tokenizer_folder: Path | None) -> Path:
    """A folder with ``spec``'s safetensors, config and tokenizer."""
    if spec.startswith("hub:"):
        return Path(
            snapshot_download(
                spec.removeprefix("hub:"), allow_patterns=["*.safetensors", "*.json", "*.model"]
            )
        )
    if Path(spec).is_dir() and not is_adapter(spec) and any(Path(spec).glob("*.safetensors")):
        return Path(spec)
    return _written_anew(spec, scratch, tokenizer_folder=tokenizer_folder)


def _written_anew(spec: str, scratch: Path, *, tokenizer_folder: Path | None = None) -> Path:
    model, tokenizer = load_model(spec, tokenizer_folder=tokenizer_folder, dtype=torch.float32)
    model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    return scratch


def _probe(model: PreTrainedModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    embedding: Any = model.get_input_embeddings()
    return torch.randint(embedding.weight.shape[0], (4, PROBE_TOKENS), generator=generator)


@torch.no_grad()
def _logits(model: torch.nn.Module, probe: Tensor) -> Tensor:
    core: Any = model.eval().get_base_model() if isinstance(model, PeftModel) else model.eval()
    if hasattr(core, "score"):
        hidden = core.base_model(input_ids=probe, use_cache=False).last_hidden_state
        scores: Tensor = core.score(hidden.float())
        return scores
    result: Tensor = model(input_ids=probe, use_cache=False).logits.float()
    return result


class _Unmerged(NamedTuple):
    base: Tensor
    """Logits, or scores, of what is below the adapter that is asked about."""
    stack: Tensor
    """The same with the uppermost adapter unmerged on what is merged below it."""
    below: float
    """Largest difference that merging one of the adapters below it made."""


def _unmerged(order: list[str], probe: Tensor, *, scores: bool) -> _Unmerged:
    """Every adapter unmerged over those below it, merged one after another: what each was trained on."""
    folder = Path(order[1])
    seed = read_base(folder).seed
    model: Any = load_model(order[0], tokenizer_folder=folder, seed=seed, dtype=torch.float32).model
    base, worst = _logits(model, probe), 0.0
    for adapter in order[1:-1]:
        wrapped: Any = PeftModel.from_pretrained(model, adapter)
        unmerged = _logits(wrapped, probe)
        model = wrapped.merge_and_unload()
        worst = max(worst, _difference(_logits(model, probe), unmerged))
    if scores:
        model = add_score_head(model, Renderer(load_tokenizer(order[-1])), seed=0)
        base = _logits(model, probe)
    return _Unmerged(base, _logits(PeftModel.from_pretrained(model, order[-1]), probe), worst)


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest, in standard deviations of what is expected."""
    return float((found - expected).abs().max() / expected.std().clamp_min(1e-6))
