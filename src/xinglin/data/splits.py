"""A split of a data set: one JSON Lines file of records, and the token shards made from it."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xinglin.data.blocks import Blocks, Row
from xinglin.data.hindsight import PreferenceReader, Reading, Unused, is_chain
from xinglin.data.overlength import Fitted, OverLength, Policy, Trainable, fit_many
from xinglin.data.records import Conversation, Origin, Preference, Question, Record, from_json, texts
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards, ShardWriter
from xinglin.errors import DataError
from xinglin.plugins import nearest
from xinglin.runtime import atomic
from xinglin.runtime.artifact import Artifact, sha256
from xinglin.runtime.progress import progress

CHUNK = 128
"""Records that are tokenised at a time. Many at once would outlive several rounds of the garbage collector, whose full
rounds walk through everything that is loaded."""
_VERSION = 2


class Span(NamedTuple):
    """A part of a split's file, from the beginning of a line to the beginning of another."""

    start: int
    """In bytes."""
    end: int


def split_file(artifact: Artifact, split: str) -> Path:
    """``<split>.jsonl`` of a data set.

    Raises:
        DataError: no such split; names the nearest.
    """
    splits = artifact.details["splits"]
    if split not in splits:
        raise DataError(f"{artifact.folder}: no split '{split}'; {nearest(split, list(splits))}")
    return artifact.folder / f"{split}.jsonl"


def read_split(path: Path, *, every: int = 1, span: Span | None = None) -> Iterator[Record]:
    """The records of a split, in order; with ``every``, the first of each that many; only the lines of ``span``."""
    for number, line in islice(enumerate(_lines(path, span)), 0, None, every):
        yield from_json(json.loads(line.decode()), Origin(path.name, number + 1))


def _lines(path: Path, span: Span | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(span.start if span else 0)
        at = file.tell()
        for line in file:
            if span and at >= span.end:
                return
            at += len(line)
            yield line


def sample_texts(path: Path, *, max_bytes: int) -> Iterator[str]:
    """The texts of about ``max_bytes`` of a split: of all records, or of some that are spread evenly over it."""
    for record in read_split(path, every=-(-path.stat().st_size // max_bytes) or 1):
        yield from texts(record)


@dataclass(frozen=True)
class Tokenising:
    """How the records of a split become sequences of tokens."""

    renderer: Renderer
    max_tokens: int
    policy: Policy
    contiguous: bool = False
    """Join all records and cut them into blocks of ``max_tokens``, whatever begins or ends there."""
    train_all: bool = False
    """Train every token of a conversation, not only its answers."""
    preferences: Reading = "pairs"
    """What preferences are read as: pairs of sequences, or conversations (``hindsight.py``)."""
    apart: bool = False
    """Each answer of a conversation ends a sequence of its own, where the template would change it otherwise."""


def shard_key(content: str, how: Tokenising, span: Span | None = None) -> str:
    """Names the shards of a file: equal text, tokenizer, template and limits give equal tokens.

    ``content`` is the hash of the whole file, of which the shards may hold a span.
    """
    settings = [how.renderer.fingerprint, how.max_tokens, how.policy, how.contiguous, how.train_all]
    facts = [_VERSION, content, *settings, how.preferences, how.apart, span]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def open_shards(
    path: Path,
    renderer: Renderer,
    *,
    max_tokens: int,
    policy: Policy,
    places: list[Path],
    records: int | None = None,
    preferences: Reading = "pairs",
    apart: bool = False,
) -> Shards:
    """The token shards of the split in ``path``: from the first of ``places`` that has them, else made in the last.

    ``records``, how many the split has, is for the progress display; the last two are those of ``Tokenising``.
    """
    how = Tokenising(renderer, max_tokens, policy, preferences=preferences, apart=apart)
    folder = find_shards(shard_key(sha256(path), how), places)
    if not folder.is_dir():
        with progress(records, f"tokenising {path.stem}", interruptible=True) as bar:
            make_shards(folder, path, how, advance=bar.advance)
    return Shards(folder)


def find_shards(key: str, places: list[Path]) -> Path:
    """The folder of these shards: in the first of ``places`` that has them, else where they will be, in the last."""
    found = (place / key for place in places if (place / key / "meta.json").is_file())
    return next(found, places[-1] / key)


def make_shards(
    folder: Path,
    path: Path,
    how: Tokenising,
    *,
    span: Span | None = None,
    advance: Callable[[int], None] = lambda records: None,
) -> None:
    """Tokenise the split in ``path``, or a span of it, into ``folder``, which is whole or absent.

    ``advance`` is called with the number of records that were done since it was called last.
    """
    bulk = how.renderer.expect(span.end - span.start if span else path.stat().st_size)

    def fill(aside: Path) -> None:
        _tokenise(path, how, span, aside, advance)
        if bulk and not how.renderer.bulk:
            _tokenise(path, how, span, aside, lambda records: None)

    atomic.make_folder(folder, fill)


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
    path: Path, how: Tokenising, span: Span | None, folder: Path, advance: Callable[[int], None]
) -> None:
    records = read_split(path, span=span)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path}: the split is empty; give it rows")
    group = 2 if isinstance(first, Preference) and how.preferences == "pairs" else 1
    with ShardWriter(folder, vocabulary=len(how.renderer.tokenizer), group=group) as writer:
        trainable = (_trainable(record, path) for record in chain([first], records))
        _fill(writer, trainable, how, advance)


def _fill(
    writer: ShardWriter, records: Iterator[Trainable], how: Tokenising, advance: Callable[[int], None]
) -> None:
    blocks = Blocks(how.max_tokens) if how.contiguous else None
    over = OverLength()
    left_out: list[dict[str, Any]] = []
    done = 0
    reader = PreferenceReader(how.preferences)
    while chunk := list(islice(records, CHUNK)):
        for place, fitted in _fitted(chunk, how, reader, over):
            number, source = done + place, chunk[place].origin.file
            if fitted.reason:
                left_out.append({"row": number + 1, "reason": fitted.reason, "detail": fitted.detail})
            for piece in fitted.pieces:
                weights = np.ones_like(piece.weights) if how.train_all else piece.weights
                row = Row(piece.ids, weights, number, source)
                _write(writer, blocks.add(row) if blocks else [row])
        done += len(chunk)
        advance(len(chunk))
    _write(writer, blocks.rest() if blocks else [])
    lines = (
        json.dumps(entry, ensure_ascii=False) + "\n" for entry in sorted(left_out, key=lambda e: e["row"])
    )
    (writer.folder / "left_out.jsonl").write_text("".join(lines), encoding="utf-8")
    writer.close(policy=how.policy, max_tokens=how.max_tokens, records=done, over_length=over.to_json())


def _fitted(
    chunk: list[Trainable], how: Tokenising, reader: PreferenceReader, over: OverLength
) -> Iterator[tuple[int, Fitted]]:
    """Place in ``chunk`` and rows of everything that is made of its records, and of those that give nothing."""
    views: list[tuple[int, Trainable]] = []
    for place, record in enumerate(chunk):
        try:
            read = reader.read(record)
            made = [view for each in read for view in _apart(each, how.renderer)] if how.apart else read
            views += [(place, view) for view in made]
        except Unused as unused:
            reason, detail = unused.args
            over.drop(record, reason, detail)
            yield place, Fitted(place, reason=reason, detail=detail)
    limit = sys.maxsize if how.contiguous else how.max_tokens
    records = [view for _, view in views]
    for fitted in fit_many(
        records, how.renderer, max_tokens=limit, policy=how.policy, counter=over, whole=is_chain
    ):
        yield views[fitted.index][0], fitted


def _apart(record: Trainable, renderer: Renderer) -> list[Trainable]:
    """A conversation that ends on each of its trained answers, if the template changes what is not at the end."""
    if not isinstance(record, Conversation):
        return [record]
    messages = record.messages
    try:
        if renderer.keeps_answers(messages, tools=record.tools):
            return [record]
    except DataError:
        return [record]  # the reason is found, and counted, when it is rendered
    history = [replace(message, train=False) for message in messages]
    answers = [at for at, message in enumerate(messages) if message.role == "assistant" and message.train]
    return [replace(record, messages=(*history[:at], messages[at])) for at in answers]


def _write(writer: ShardWriter, rows: Iterable[Row]) -> None:
    for row in rows:
        writer.add(row.ids, row.weights, row=row.number, source=row.source)


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
