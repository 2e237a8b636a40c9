"""Read, check and tokenise data: every row in is used or quarantined with a reason."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from xinglin.config.base import ModelInput, StageConfig
from xinglin.config.marks import SplitFacts, Splits
from xinglin.data.building import OWN_FILES, Builder, Rulebook, Split
from xinglin.data.records import texts
from xinglin.data.sources import SAMPLE, Source, content_hash, files
from xinglin.data.templates import load_template
from xinglin.errors import DataError
from xinglin.plugins import nearest
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.runtime.units import bytes_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PRODUCES = "dataset"
SAMPLE_CHARACTERS = 100_000
TRAINED_BYTES = 1 << 23
"""Of all splits together, that a tokenizer is trained on, which takes forty times as much memory."""
BYTES_PER_TOKEN = 4
"""Rough, for a forecast: what byte-level tokenizers reach on Chinese and English medical text."""


class Config(StageConfig, Rulebook):
    """Build the splits that later stages train and evaluate on."""

    splits: Annotated[dict[str, Split], Field(min_length=1)]
    """Split name -> where its rows come from. Each holds one kind of record."""
    processes: Annotated[int, Field(ge=1)] | None = None
    """Processes that clean and look for personal data. Default: one per core. The result is the same for any."""
    tokenizer: ModelInput = None
    """Whose tokenizer to use. Default: the recipe's ``model``; for a ``tiny:`` one it is trained on the splits."""
    vocabulary: Annotated[int, Field(ge=300, le=200_000)] = 4096
    """Size of a tokenizer that is trained here, on 8 MiB of the splits if they are larger, spread evenly over them."""
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
        for name in names:
            if not re.fullmatch(r"\w[\w.-]*", name) or f"{name}.jsonl" in OWN_FILES:
                raise ValueError(
                    f"'{name}' cannot be a split: its file is {name}.jsonl; give it another name"
                )
        return self

    @model_validator(mode="after")
    def _tokenizer_splits_are_for_training(self) -> "Config":
        for name in self.tokenizer_splits or []:
            if name not in self.splits:
                raise ValueError(f"tokenizer_splits: no split '{name}'; {nearest(name, list(self.splits))}")
            if self.splits[name].held_out:
                raise ValueError(f"tokenizer_splits: '{name}' is held out for evaluation; name another one")
        return self


def check(config: Config, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a split whose sources are known to make different kinds of record."""
    for name, split in config.splits.items():
        makes = {source.path: kind for source in split.sources if (kind := source.makes)}
        if len(set(makes.values())) > 1:
            listed = ", ".join(f"{path} {kind}s" for path, kind in makes.items())
            raise DataError(f"splits.{name}: {listed}; a split holds one kind of record, so make one of each")


def splits(config: Config, given: Splits) -> dict[str, SplitFacts]:
    """The splits that it makes; those cut from another one are held out."""
    made = {}
    for name, split in config.splits.items():
        kind = next((kind for source in split.sources if (kind := source.makes)), None)
        made |= {part: SplitFacts(True, kind) for part in split.hold_out}
        made[name] = SplitFacts(split.held_out, kind)
    return made


def sources(config: Config) -> dict[str, str]:
    """Content hash of everything that is read, by path; raises DataError for what is missing."""
    template = {"template": load_template(config.template)} if config.template else {}
    read = [source for split in config.splits.values() for source in split.sources]
    protected = [Source(path=path) for path in config.leaks.paths]
    return template | {source.path: content_hash(source) for source in [*read, *protected]}


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
    """Files in; ``<split>.jsonl``, what was left out and why, a tokenizer and token shards out."""
    from xinglin.data import card
    from xinglin.data.dataset import describe_split, tokenise_splits

    processes = config.processes or os.cpu_count() or 1
    builder = Builder(config, folder=run.out, scratch=run.scratch, seed=run.seed, processes=processes)
    built = builder.build(config.splits)
    splits = {
        part.file.name: describe_split(
            part.draft.record_kind,
            records=part.records,
            held_out=part.file.held_out,
            sources=[] if part.cut_from else part.draft.sources,
            removed={} if part.cut_from else built.removed[part.draft.name],
            cut_from=part.cut_from,
        )
        for part in built.parts
    }
    tokenizer, facts = _tokenizer(config, run, splits)
    tokenise_splits(run.out, tokenizer, splits, max_tokens=config.max_tokens, policy=config.over_length)
    details = {"splits": splits, "steps": built.report, "tokenizer": facts}
    card.write(run.out, details, files=built.files)
    return Outcome("dataset", details=details)


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
        read = [run.out / f"{name}.jsonl" for name in seen]
        every = -(-sum(path.stat().st_size for path in read) // TRAINED_BYTES)
        tokenizer = train_tokenizer(_texts(read, every=every), vocabulary=config.vocabulary)
        tokenizer.chat_template = load_template("chatml")
    else:
        tokenizer = load_tokenizer(spec.removeprefix("hub:"), trust_remote_code=config.trust_remote_code)
    if config.template:
        tokenizer.chat_template = load_template(config.template)
    tokenizer.save_pretrained(run.out / "tokenizer")
    return tokenizer, {
        "vocabulary": len(tokenizer),
        "characters_per_token": _characters_per_token(tokenizer, _texts(files)),
        "trained": is_tiny(spec),
    }


def _characters_per_token(tokenizer: "PreTrainedTokenizerFast", texts: Iterator[str]) -> float:
    """Of the first ``SAMPLE_CHARACTERS``."""
    sample, characters = [""], 0
    for text in texts:
        sample.append(text[: SAMPLE_CHARACTERS - characters])
        characters += len(sample[-1])
        if characters == SAMPLE_CHARACTERS:
            break
    tokens = sum(len(ids) for ids in tokenizer(sample, add_special_tokens=False)["input_ids"])
    return round(characters / max(1, tokens), 3)


def _texts(files: list[Path], *, every: int = 1) -> Iterator[str]:
    from xinglin.data.splits import read_split

    for path in files:
        for record in read_split(path, every=every):
            yield from texts(record)
