"""Read, check and tokenise data: every row in is used or quarantined with a reason."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from xinglin.config.base import Config as BaseConfig
from xinglin.config.base import ModelInput, StageConfig
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.records import Kind, kind_of, texts
from xinglin.data.sources import SAMPLE, Source, content_hash, files, read
from xinglin.data.templates import load_template
from xinglin.errors import DataError
from xinglin.plugins import nearest
from xinglin.runtime.progress import progress
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.runtime.units import bytes_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PRODUCES = "dataset"
BYTES_PER_TOKEN = 4
"""Rough, for a forecast: what byte-level tokenizers reach on Chinese and English medical text."""


class Split(BaseConfig):
    """One named part of the data set."""

    sources: Annotated[list[Source], Field(min_length=1)]
    """Where its rows come from, read in order."""
    held_out: bool = False
    """For evaluation only: training stages refuse it and the tokenizer is not trained on it."""
    hold_out: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default={})
    """Further splits cut from this one, with their share of its records, e.g. ``{dev: 0.05}``. They are held out."""


class Config(StageConfig):
    """Build the splits that later stages train and evaluate on."""

    splits: Annotated[dict[str, Split], Field(min_length=1)]
    """Split name -> where its rows come from. Each holds one kind of record."""
    tokenizer: ModelInput = None
    """Whose tokenizer to use. Default: the recipe's ``model``; for a ``tiny:`` one it is trained on the splits."""
    vocabulary: Annotated[int, Field(ge=300, le=200_000)] = 4096
    """Size of a tokenizer that is trained here."""
    tokenizer_splits: list[str] | None = None
    """The splits that it is trained on, e.g. ``[english]`` for one whose vocabulary a later stage extends.
    Default: all that are not held out."""
    trust_remote_code: bool = False
    """Run Python code that comes with the tokenizer."""
    template: str | None = None
    """A packaged chat template (``xinglin list templates``), for all stages that use these data.
    Default: the one in the tokenizer; ``chatml`` for a tokenizer that is trained here."""
    max_tokens: Annotated[int, Field(gt=0)] = 1024
    """Longest sequence of the token shards that are made here; a stage with another limit makes its own."""
    over_length: Literal["error", "drop", "truncate_history", "split"] = "split"
    """What happens to longer ones. ``split`` makes several of one; what fits in none is left out and counted."""

    @model_validator(mode="after")
    def _names_are_free(self) -> "Config":
        names = [*self.splits, *(name for split in self.splits.values() for name in split.hold_out)]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"split names used twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _tokenizer_splits_are_for_training(self) -> "Config":
        for name in self.tokenizer_splits or []:
            if name not in self.splits:
                raise ValueError(f"tokenizer_splits: no split '{name}'; {nearest(name, list(self.splits))}")
            if self.splits[name].held_out:
                raise ValueError(f"tokenizer_splits: '{name}' is held out for evaluation; name another one")
        return self


def splits(config: Config, given: Mapping[str, bool]) -> dict[str, bool]:
    """The splits that it makes; those cut from another one are held out."""
    cut = {name: True for split in config.splits.values() for name in split.hold_out}
    return {name: split.held_out for name, split in config.splits.items()} | cut


def sources(config: Config) -> dict[str, str]:
    """Content hash of everything that is read, by path; raises DataError for what is missing."""
    template = {"template": load_template(config.template)} if config.template else {}
    paths = [source for split in config.splits.values() for source in split.sources]
    return template | {source.path: content_hash(source) for source in paths}


def plan(config: Config, run: StageRun) -> dict[str, str]:
    """How much there is to read, for ``--dry-run``."""
    every = [source for split in config.splits.values() for source in split.sources]
    given = [source for source in every if not source.path.startswith(SAMPLE)]
    if not given:
        return {}
    paths = [path for source in given for path in files(source)]
    size = sum(path.stat().st_size for path in paths)
    return {"reads": f"{len(paths)} files, {bytes_text(size)}, about {size // BYTES_PER_TOKEN:,} tokens"}


def run(config: Config, run: StageRun) -> Outcome:
    """Files in; ``<split>.jsonl``, ``quarantine.jsonl``, a tokenizer and token shards out."""
    from xinglin.data.dataset import tokenise_splits

    splits: dict[str, dict[str, Any]] = {}
    with Quarantine(run.out / "quarantine.jsonl") as quarantine:
        for name, split in config.splits.items():
            splits |= _write_split(name, split, run, quarantine)
    tokenizer, facts = _tokenizer(config, run, splits)
    tokenise_splits(run.out, tokenizer, splits, max_tokens=config.max_tokens, policy=config.over_length)
    return Outcome("dataset", details={"splits": splits, "tokenizer": facts})


def _write_split(name: str, split: Split, run: StageRun, quarantine: Quarantine) -> dict[str, dict[str, Any]]:
    """Write ``<name>.jsonl`` and the splits cut from it; returns the details of each."""
    from xinglin.data.dataset import describe_split

    names = [name, *split.hold_out]
    accounts = []
    counts: Counter[str] = Counter()
    kind: Kind | None = None
    rows, origin = -1, None
    files = {part: (run.out / f"{part}.jsonl").open("w", encoding="utf-8") for part in names}
    try:
        with progress(None, f"reading {name}") as bar:
            for source in split.sources:
                account = SourceAccount()
                accounts.append((source, account))
                for record in read(source, kind=kind, account=account, quarantine=quarantine):
                    kind = kind or kind_of(record)
                    rows, origin = rows + (record.origin != origin), record.origin
                    part = _part(name, split, run.seed, rows)
                    files[part].write(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
                    counts[part] += 1
                    bar.advance(1)
    finally:
        for file in files.values():
            file.close()
    for part in names:
        if not counts[part]:
            raise DataError(f"split '{part}': no record in it; give it more rows or drop it")
    assert kind is not None  # there are records
    shown = [
        {"path": source.path, "licence": source.licence, **account.to_json()} for source, account in accounts
    ]
    return {
        part: describe_split(
            kind,
            records=counts[part],
            held_out=split.held_out or part != name,
            sources=shown if part == name else [],
            cut_from=None if part == name else name,
        )
        for part in names
    }


def _part(name: str, split: Split, seed: int, number: int) -> str:
    """Which split the records of row ``number`` go to, all of them: a fixed function of the seed and the number."""
    draw = zlib.crc32(f"{seed} {name} {number}".encode()) / 2**32
    for part, share in split.hold_out.items():
        if draw < share:
            return part
        draw -= share
    return name


def _tokenizer(
    config: Config, run: StageRun, splits: dict[str, dict[str, Any]]
) -> tuple["PreTrainedTokenizerFast", dict[str, Any]]:
    """Load it, or train it for a ``tiny:`` model; saved in ``tokenizer/``."""
    from xinglin.config.tiny import is_tiny
    from xinglin.models.tokenizer import load_tokenizer, train_tokenizer

    spec = run.model(config.tokenizer or "base")
    files = [run.out / f"{name}.jsonl" for name in splits]
    if is_tiny(spec):
        seen = config.tokenizer_splits or [name for name, facts in splits.items() if not facts["held_out"]]
        if not seen:
            raise DataError(
                "every split is held out, so there is no text to train a tokenizer on; add one that is not"
            )
        tokenizer = train_tokenizer(
            _texts([run.out / f"{name}.jsonl" for name in seen]), vocabulary=config.vocabulary
        )
        tokenizer.chat_template = load_template("chatml")
    else:
        tokenizer = load_tokenizer(spec.removeprefix("hub:"), trust_remote_code=config.trust_remote_code)
    if config.template:
        tokenizer.chat_template = load_template(config.template)
    tokenizer.save_pretrained(run.out / "tokenizer")
    sample = [text for text, _ in zip(_texts(files), range(2000), strict=False)]
    tokens = sum(len(ids) for ids in tokenizer(sample, add_special_tokens=False)["input_ids"])
    return tokenizer, {
        "vocabulary": len(tokenizer),
        "characters_per_token": round(sum(map(len, sample)) / max(1, tokens), 3),
        "trained": is_tiny(spec),
    }


def _texts(files: list[Path]) -> Iterator[str]:
    from xinglin.data.splits import read_split

    for path in files:
        for record in read_split(path):
            yield from texts(record)
