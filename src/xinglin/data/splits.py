"""A split of a data set: one JSON Lines file of records, and the token shards made from it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from xinglin.data.overlength import OverLength, Policy, Trainable, fit_many
from xinglin.data.records import Origin, Preference, Question, Record, from_json, texts
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards, ShardWriter
from xinglin.errors import DataError
from xinglin.plugins import nearest
from xinglin.runtime import atomic
from xinglin.runtime.artifact import Artifact, sha256
from xinglin.runtime.progress import progress

CHUNK = 1024
_VERSION = 1


def split_file(artifact: Artifact, split: str) -> Path:
    """``<split>.jsonl`` of a data set.

    Raises:
        DataError: no such split; names the nearest.
    """
    splits = artifact.details["splits"]
    if split not in splits:
        raise DataError(f"{artifact.folder}: no split '{split}'; {nearest(split, list(splits))}")
    return artifact.folder / f"{split}.jsonl"


def read_split(path: Path, *, every: int = 1) -> Iterator[Record]:
    """The records of a split, in order; with ``every``, the first of each that many."""
    with path.open(encoding="utf-8") as file:
        for number, line in islice(enumerate(file), 0, None, every):
            yield from_json(json.loads(line), Origin(path.name, number + 1))


def sample_texts(path: Path, *, max_bytes: int) -> Iterator[str]:
    """The texts of about ``max_bytes`` of a split: of all records, or of some that are spread evenly over it."""
    for record in read_split(path, every=-(-path.stat().st_size // max_bytes) or 1):
        yield from texts(record)


def shard_key(path: Path, renderer: Renderer, *, max_tokens: int, policy: Policy) -> str:
    """Names the shards of a file: equal text, tokenizer, template and limits give equal tokens."""
    facts = [_VERSION, sha256(path), renderer.fingerprint, max_tokens, policy]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def open_shards(
    path: Path,
    renderer: Renderer,
    *,
    max_tokens: int,
    policy: Policy,
    places: list[Path],
    records: int | None = None,
) -> Shards:
    """The token shards of the split in ``path``: from the first of ``places`` that has them, else made in the last.

    ``records``, how many the split has, is for the progress display.
    """
    key = shard_key(path, renderer, max_tokens=max_tokens, policy=policy)
    folder = next(
        (place / key for place in places if (place / key / "meta.json").is_file()), places[-1] / key
    )
    if not folder.is_dir():
        with progress(records, f"tokenising {path.stem}") as bar:
            atomic.make_folder(
                folder, lambda aside: _tokenise(path, renderer, max_tokens, policy, aside, bar.advance)
            )
    return Shards(folder)


def require_trained(shards: Shards, path: Path) -> None:
    """Refuse shards of the split in ``path`` that hold nothing to train on.

    Raises:
        DataError: with the reasons, and an example of each.
    """
    if shards.meta["trained_tokens"]:
        return
    over, limit = shards.meta["over_length"], shards.meta["max_tokens"]
    why = "".join(
        f"; {count} {reason}, such as {over['examples'][reason]}" for reason, count in over["reasons"].items()
    )
    raise DataError(f"{path}: nothing to train on within {limit} tokens{why}; raise max_tokens or add rows")


def _tokenise(
    path: Path,
    renderer: Renderer,
    max_tokens: int,
    policy: Policy,
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    records = read_split(path)
    writer: ShardWriter | None = None
    over = OverLength()
    left_out: list[dict[str, Any]] = []
    row = 0
    while chunk := [_trainable(record, path) for record in islice(records, CHUNK)]:
        if writer is None:
            group = 2 if isinstance(chunk[0], Preference) else 1
            writer = ShardWriter(folder, vocabulary=len(renderer.tokenizer), group=group)
        for fitted in fit_many(chunk, renderer, max_tokens=max_tokens, policy=policy, counter=over):
            if fitted.reason:
                left_out.append(
                    {"row": row + fitted.index + 1, "reason": fitted.reason, "detail": fitted.detail}
                )
            for piece in fitted.pieces:
                writer.add(piece.ids, piece.mask, row=row + fitted.index)
        row += len(chunk)
        advance(len(chunk))
    if writer is None:
        raise DataError(f"{path}: the split is empty; give it rows")
    lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in left_out)
    (folder / "left_out.jsonl").write_text("".join(lines), encoding="utf-8")
    writer.close(policy=policy, max_tokens=max_tokens, records=row, over_length=over.to_json())


def _trainable(record: Record, path: Path) -> Trainable:
    if isinstance(record, Question):
        raise DataError(f"{path}: holds exam questions, which are for evaluation; train on another split")
    return record


def shard_summary(shards: Shards) -> dict[str, Any]:
    """What the report says about the tokens of a split."""
    meta = shards.meta
    return {
        "tokens": meta["tokens"],
        "trained_tokens": meta["trained_tokens"],
        "lengths": meta["lengths"],
        "over_length": {"policy": meta["policy"], **meta["over_length"]},
    }
