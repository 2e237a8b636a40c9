"""Encoder: any text encoder in Hugging Face's layout, its last hidden states averaged over the tokens."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from xinglin.config.base import Input
from xinglin.data.copies.fingerprints import compared
from xinglin.errors import ModelError
from xinglin.selection.embeddings import EmbeddingConfig, Records, unit
from xinglin.selection.geometry import Points
from xinglin.selection.scores import Context


class Config(EmbeddingConfig):
    """A sentence encoder, such as those of the BGE and GTE families."""

    name: Literal["encoder"]
    """This embedding."""
    model: Annotated[str, Input(("model",))]
    """The encoder: a local folder, or ``hub:org/name``."""
    max_tokens: Annotated[int, Field(gt=0)] = 512
    """What of a text is read."""
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Texts of one forward pass. Changes speed and memory."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""


def embed(config: Config, context: Context, records: Records) -> Points:
    """
    Raises:
        ModelError: there is no encoder.
    """
    tokenizer, model = _load(config, context.locate(config.model))
    parts = []
    for _, chunk in records.chunks():
        texts = [compared(record, config.text) for record in chunk]
        found = np.zeros((len(texts), model.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), config.batch_size):
            batch = order[start : start + config.batch_size]
            found[batch] = _means(model, tokenizer, [texts[index] for index in batch], config.max_tokens)
        parts.append(unit(found))
        records.advance(len(chunk))
    return np.concatenate(parts)


def _load(config: Config, spec: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    name, options = spec.removeprefix("hub:"), {"trust_remote_code": config.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model = AutoModel.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{spec}: no text encoder can be loaded from there ({error})") from error
    return tokenizer, model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _means(model: Any, tokenizer: Any, texts: list[str], max_tokens: int) -> Points:
    import torch

    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt").to(
        model.device
    )
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"][:, :, None]
    means: Points = ((hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)).cpu().numpy()
    return means
