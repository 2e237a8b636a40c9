"""A score head in place of the language model's: what makes a reward model, in Hugging Face's own form."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from xinglin.data.rendering import Renderer
from xinglin.errors import ModelError
from xinglin.models.adapter import is_adapter, is_reward_model, read_base
from xinglin.models.load import Loaded, load_model
from xinglin.models.tokenizer import load_tokenizer


def add_score_head(model: PreTrainedModel, renderer: Renderer, *, seed: int) -> PreTrainedModel:
    """``model`` with a new float32 head of one score, drawn from ``seed``, in place of its own.

    The weights below the head are shared with ``model``, which is not to be used any more.

    Raises:
        ModelError: transformers has no sequence classifier of this architecture; or no token can pad.
    """
    config = model.config
    config.num_labels = 1
    config.pad_token_id = padding_id(renderer)
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if kind is None:
        raise ModelError(
            f"architecture '{config.model_type}': transformers has no sequence classifier of it, so no tool could load "
            "the reward model; start it from another architecture, such as Qwen3 or Llama"
        )
    with torch.device("meta"):
        classifier: PreTrainedModel = kind(config)
    setattr(classifier, classifier.base_model_prefix, model.base_model)
    classifier.score = _new_head(config.hidden_size, seed=seed).to(model.device)
    return classifier


def _new_head(width: int, *, seed: int) -> nn.Linear:
    """Standard deviation 1 / sqrt(width + 1), as in arXiv 2009.01325: the first scores are of the order of 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, 1, bias=False, dtype=torch.float32)
        nn.init.normal_(head.weight, std=(width + 1) ** -0.5)
    return head


def padding_id(renderer: Renderer) -> int:
    """A token that no conversation ends on.

    transformers scores the last token that is no padding, so with the usual ``pad = eos`` it would miss the end.

    Raises:
        ModelError: the tokenizer has no such token.
    """
    tokenizer = renderer.tokenizer
    known = [
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
        tokenizer.bos_token_id,
        *sorted(tokenizer.added_tokens_decoder),
    ]
    found = next((index for index in known if index is not None and index not in renderer.stop_ids), None)
    if found is None:
        raise ModelError(
            "the tokenizer has no special token but those that end an answer, and none can pad; add a pad token to it"
        )
    return int(found)


def load_classifier(
    spec: str, *, dtype: torch.dtype | None = None, trust_remote_code: bool = False
) -> Loaded:
    """The reward model that ``spec`` names, a folder or ``hub:org/name``, on the CPU, its adapter merged in.

    Args:
        dtype: None keeps the checkpoint's on CUDA and float32 elsewhere. The head is float32 always.

    Raises:
        ModelError: nothing loadable there, or no model that gives one score.
    """
    if is_adapter(spec):
        return _load_adapter(Path(spec), dtype=dtype, trust_remote_code=trust_remote_code)
    name = spec.removeprefix("hub:")
    chosen = dtype or ("auto" if torch.cuda.is_available() else torch.float32)
    try:
        model, seen = AutoModelForSequenceClassification.from_pretrained(
            name, dtype=chosen, trust_remote_code=trust_remote_code, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{name}: the reward model cannot be loaded ({error})") from error
    if (
        model.config.num_labels != 1
        or not hasattr(model, "score")
        or any("score" in key for key in seen["missing_keys"])
    ):
        raise ModelError(
            f"{name}: gives no score of an answer, so it is no reward model; train one with kind: reward"
        )
    model.score.float()
    return Loaded(model, load_tokenizer(name, trust_remote_code=trust_remote_code))


def _load_adapter(folder: Path, *, dtype: torch.dtype | None, trust_remote_code: bool) -> Loaded:
    if not is_reward_model(folder):
        raise ModelError(
            f"{folder}: its adapter writes texts, so it is no reward model; train one with kind: reward"
        )
    base = read_base(folder)
    tokenizer = load_tokenizer(str(folder))
    lower = load_model(
        base.resolve(folder),
        tokenizer_folder=folder,
        seed=base.seed,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    classifier = add_score_head(lower.model, Renderer(tokenizer), seed=0)
    merged: Any = PeftModel.from_pretrained(classifier, str(folder)).merge_and_unload()
    return Loaded(merged, tokenizer)
