"""The folder of a data set artifact: a JSON Lines file per split, a tokenizer, and token shards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedTokenizerFast

from xinglin.data.overlength import Policy
from xinglin.data.records import Kind
from xinglin.data.rendering import Renderer
from xinglin.data.splits import open_shards, require_trained, shard_summary
from xinglin.data.stream import STREAM_BYTES

TOKENIZER = "tokenizer"
"""Subfolder of the tokenizer with which all splits are tokenised."""


def describe_split(
    record: Kind,
    *,
    records: int,
    held_out: bool,
    sources: Sequence[dict[str, Any]] = (),
    removed: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
    cut_from: str | None = None,
) -> dict[str, Any]:
    """``details["splits"][name]`` of the artifact, before it is tokenised.

    Args:
        record: the kind of its records.
        records: how many it has.
        held_out: training stages refuse it.
        sources: an account for each, with ``path`` and ``licence``.
        removed: how many records rules took out, by step and reason.
        cut_from: the split whose rows they were, if it was cut from one.
    """
    return {
        "record": record,
        "records": records,
        "held_out": held_out,
        "sources": list(sources),
        "removed": {step: dict(reasons) for step, reasons in removed.items()},
        "cut_from": cut_from,
        "tokens": None,
        "trained_tokens": None,
        "lengths": None,
        "over_length": None,
    }


def tokenise_splits(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    splits: dict[str, dict[str, Any]],
    *,
    max_tokens: int,
    policy: Policy,
) -> None:
    """Make the token shards of every split in ``folder`` but exam questions, which only evaluation reads, and
    documents of a size that pretraining tokenises while it trains.

    Adds what the report says about them to the descriptions in ``splits``.

    Raises:
        DataError: a split to be trained on holds nothing to train on.
    """
    renderer = Renderer(tokenizer)
    for name, facts in splits.items():
        path = folder / f"{name}.jsonl"
        large = facts["record"] == "document" and path.stat().st_size > STREAM_BYTES
        if facts["record"] == "question" or (large and not facts["held_out"]):
            continue
        shards = open_shards(
            path,
            renderer,
            max_tokens=max_tokens,
            policy=policy,
            places=[folder / "shards"],
            records=facts["records"],
        )
        if not facts["held_out"]:
            require_trained(shards, path)
        facts |= shard_summary(shards)
