"""A token-classification model as a detector: any that transformers loads with a fast tokenizer."""

from collections.abc import Iterator
from typing import Any

from xinglin.data.deidentify.config import ModelConfig
from xinglin.data.deidentify.spans import Span
from xinglin.errors import ModelError


class TokenClassifier:
    """Spans of the labels that the config names. The model is loaded on first use and never pickled."""

    def __init__(self, config: ModelConfig):
        self.config = config
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_loaded": None}

    def find(self, text: str) -> Iterator[Span]:
        """Neighbouring tokens of one type make one span; a token of a long text counts as the last window sees it."""
        if not text.strip():
            return
        labelled = sorted(self._labelled(text))
        type, start, end = None, 0, 0
        for first, last, new, begins in labelled:
            if new == type and not begins and first <= end + 1:
                end = last
                continue
            if type:
                yield Span(type, start, end)
            type, start, end = new, first, last
        if type:
            yield Span(type, start, end)

    def _labelled(self, text: str) -> list[tuple[int, int, str, bool]]:
        """(start, end, type, begins a new span) of every token with a label that counts."""
        import torch

        tokenizer, model = self._load()
        windows = tokenizer(
            text,
            truncation=True,
            max_length=self.config.max_tokens,
            stride=self.config.max_tokens // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found: dict[tuple[int, int], tuple[int, int, str, bool]] = {}
        for ids, offsets in zip(windows["input_ids"], windows["offset_mapping"], strict=True):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float()
            best, label_ids = logits.softmax(-1).max(-1)
            for (start, end), sure, label in zip(offsets, best.tolist(), label_ids.tolist(), strict=True):
                tag, _, rest = model.config.id2label[label].partition("-")
                name = rest if tag in ("B", "I", "E", "S") and rest else model.config.id2label[label]
                type = self.config.labels.get(name)
                found.pop((start, end), None)
                if type and end > start and sure >= self.config.threshold:
                    found[start, end] = (start, end, type, tag in ("B", "S") and bool(rest))
        return list(found.values())

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForTokenClassification, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self.config.path, use_fast=True)
                model = AutoModelForTokenClassification.from_pretrained(self.config.path)
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"deidentify.model: '{self.config.path}' does not load as a token classifier ({error})"
                ) from error
            if not (tokenizer and tokenizer.is_fast):
                raise ModelError(
                    f"deidentify.model: '{self.config.path}' has no fast tokenizer, which tells places in the text"
                )
            self._check_labels(model)
            self._loaded = (tokenizer, model.to(self.config.device or "cpu").eval())
        return self._loaded

    def _check_labels(self, model: Any) -> None:
        """A label map that the model does not know would find nothing, and nobody would notice."""
        known = {label.split("-", 1)[-1] for label in model.config.id2label.values()}
        if unknown := sorted(set(self.config.labels) - known):
            raise ModelError(
                f"deidentify.model: labels {unknown} are not of this model; it has {sorted(known)}"
            )
