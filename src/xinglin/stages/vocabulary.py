"""Extend a model's vocabulary by the characters and words of your texts, so that they take fewer tokens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from xinglin.config.base import DataInput, ModelInput, StageConfig, TrainingSplit
from xinglin.config.parts import Positive
from xinglin.errors import DataError
from xinglin.runtime.artifact import Artifact, interval
from xinglin.runtime.progress import progress
from xinglin.runtime.stage_run import Outcome, StageRun

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xinglin.models.vocabulary import NewToken

PRODUCES = "model"
SHOWN_TOKENS = 200
MEASURED_BYTES = 4 << 20


class Config(StageConfig):
    """Add tokens to ``model``; ids and tokens of old text stay as they are."""

    model: ModelInput = None
    """The model to extend; an adapter is merged in first. Default: the nearest earlier stage that makes one."""
    data: DataInput = None
    """The data set whose texts decide which tokens are added. Default: the nearest earlier data stage."""
    splits: list[TrainingSplit] = Field(default=["train"], min_length=1)
    """Its splits to learn from; held-out ones are refused."""
    characters: Annotated[int, Field(ge=0)] = 0
    """How many Chinese characters to add: the most frequent ones that take several tokens now."""
    pieces: Annotated[int, Field(ge=0)] = 0
    """How many longer pieces to add: the tokenizer's BPE training goes on with the texts, after the characters."""
    min_count: Positive = 2
    """What occurs less often is not added."""
    sample_bytes: Positive = 100_000_000
    """Bytes of each split to learn from; of a larger one, records spread evenly over it are taken. Learning pieces
    takes 20 to 40 times as much memory."""
    pad_to_multiple_of: Positive = 128
    """The number of embedding rows is rounded up to a multiple of this, which matrix products like."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the saved weights. ``auto``: as the model's config has it. Means are always taken in float32."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    @model_validator(mode="after")
    def _adds_something(self) -> "Config":
        if not self.characters and not self.pieces:
            raise ValueError("adds nothing; set characters, pieces, or both")
        return self


class _Learnt(NamedTuple):
    tokens: "list[NewToken]"
    """In the order of their ids."""
    tokenizer: "PreTrainedTokenizerFast"


def run(config: Config, run: StageRun) -> Outcome:
    """A model and texts in; the model with more tokens out, each new row the mean of those that it replaces."""
    import torch

    from xinglin.models.embeddings import Extension, extend_embeddings
    from xinglin.models.load import load_model
    from xinglin.models.vocabulary import Vocabulary

    data, spec = run.artifact(config.data or ""), run.model(config.model or "base")
    _refuse_held_out(config, data)
    model, old = load_model(
        spec,
        tokenizer_folder=data.folder / "tokenizer",
        seed=run.seed,
        dtype=torch.float32,
        trust_remote_code=config.trust_remote_code,
    )
    tokens, new = _learn(config, data, old)
    if not tokens:
        raise DataError(
            f"splits {', '.join(config.splits)}: nothing that occurs {config.min_count} times can be added to the "
            "vocabulary; leave this stage out, or lower min_count"
        )
    ratios = _measure(data, old, new)
    first, parts = Vocabulary(old).size, [token.parts for token in tokens]
    rows = extend_embeddings(model, parts, first_new_id=first, multiple=config.pad_to_multiple_of)
    model.to(_dtype(config, spec)).save_pretrained(run.out)  # type: ignore[arg-type]
    new.save_pretrained(run.out)
    Extension(first, [token.text for token in tokens], rows).save(run.out)
    return _outcome(config, tokens, rows, ratios)


def _outcome(
    config: Config, tokens: "list[NewToken]", rows: int, ratios: dict[str, tuple[float, float]]
) -> Outcome:
    characters = sum(len(token.text) == 1 for token in tokens)
    before, after = ratios[config.splits[0]]
    details = {
        "characters_added": characters,
        "pieces_added": len(tokens) - characters,
        "rows": rows,
        "characters_per_token": {
            split: {"before": before, "after": after} for split, (before, after) in ratios.items()
        },
        "first_tokens": [token.text for token in tokens[:SHOWN_TOKENS]],
    }
    metrics = {
        "vocabulary.characters_per_token": interval(after),
        "vocabulary.characters_per_token_before": interval(before),
    }
    return Outcome("model", metrics, {"vocabulary": details})


def _refuse_held_out(config: Config, data: Artifact) -> None:
    from xinglin.data.splits import split_file

    for split in config.splits:
        split_file(data, split)
        if data.details["splits"][split]["held_out"]:
            raise DataError(
                f"split '{split}' is held out for evaluation; learn the vocabulary from another one"
            )


def _dtype(config: Config, spec: str) -> Any:
    """The type to save the weights in; ``auto`` is that of the checkpoint, float32 for a model made here."""
    import torch
    from transformers import AutoConfig

    from xinglin.config.tiny import is_tiny
    from xinglin.models.adapter import is_adapter

    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    if is_tiny(spec) or is_adapter(spec):
        return torch.float32
    stored = AutoConfig.from_pretrained(spec.removeprefix("hub:"), trust_remote_code=config.trust_remote_code)
    return stored.dtype or torch.float32


def _learn(config: Config, data: Artifact, old: "PreTrainedTokenizerFast") -> _Learnt:
    """Characters first, for pieces are made of whole ones."""
    from xinglin.data.splits import sample_texts
    from xinglin.models.vocabulary import (
        count_characters,
        extend_tokenizer,
        in_order,
        new_characters,
        new_pieces,
    )

    def texts(label: str) -> Iterator[str]:
        with progress(None, label, interruptible=True) as bar:
            for split in config.splits:
                for text in sample_texts(data.folder / f"{split}.jsonl", max_bytes=config.sample_bytes):
                    bar.advance(1)
                    yield text

    new, tokens = old, []
    limits = {"min_count": config.min_count}
    if config.characters:
        counts = count_characters(texts("counting characters"))
        tokens = in_order(new_characters(old, counts, number=config.characters, **limits))
        new = extend_tokenizer(new, tokens, trust_remote_code=config.trust_remote_code)
    if config.pieces:
        pieces = new_pieces(new, texts("learning pieces"), number=config.pieces, **limits)
        new = extend_tokenizer(new, pieces, trust_remote_code=config.trust_remote_code)
        tokens += pieces
    return _Learnt(tokens, new)


def _measure(
    data: Artifact, old: "PreTrainedTokenizerFast", new: "PreTrainedTokenizerFast"
) -> dict[str, tuple[float, float]]:
    """Characters per token of each split, before and after."""
    from xinglin.data.splits import sample_texts
    from xinglin.models.vocabulary import count_tokens

    found = {}
    for split in data.details["splits"]:
        sample = list(sample_texts(data.folder / f"{split}.jsonl", max_bytes=MEASURED_BYTES))
        characters = sum(map(len, sample))
        before, after = count_tokens(old, new, sample)
        found[split] = (round(characters / max(1, before), 4), round(characters / max(1, after), 4))
    return found
