"""The splits of a data set, from sources to finished files.

Rows are read, and what they make is cleaned and looked through for personal data; then the records of all splits
together are searched for copies, splits are cut off by groups that belong together, and what is trained on is
searched for what is held out. Every row read is used or quarantined; every record made is in a split or in
``removed.jsonl``, with the step and the reason.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xinglin.config.base import Config
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.cleaning import Clean
from xinglin.data.copies import leaks
from xinglin.data.copies.duplicates import Clusters, Duplicates, SplitFile, find_duplicates
from xinglin.data.copies.grouping import assign, group
from xinglin.data.copies.leaks import LeakReport, Leaks, find_leaks, load_protected
from xinglin.data.deidentify import Deidentification, project_key
from xinglin.data.records import Kind, Origin, kind_of
from xinglin.data.removal import Removal
from xinglin.data.sources import Source, read
from xinglin.data.treatment import Rules, Treatment, redactor
from xinglin.errors import DataError
from xinglin.runtime.progress import progress

REMOVED = "removed.jsonl"
QUARANTINE = "quarantine.jsonl"
OWN_FILES = frozenset((REMOVED, QUARANTINE, leaks.FILE))
"""Beside those of the splits."""
_as_text = json.JSONEncoder(ensure_ascii=False).encode


class Split(Config):
    """One named part of the data set."""

    sources: Annotated[list[Source], Field(min_length=1)]
    """Where its rows come from, read in order."""
    held_out: bool = False
    """For evaluation only: training stages refuse it and the tokenizer is not trained on it."""
    hold_out: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default={})
    """Further splits cut from this one, with their share of its records, e.g. ``{dev: 0.05}``. They are held out.
    Records of one row, dialogue or patient, and copies of one another, stay together."""

    @model_validator(mode="after")
    def _some_stay(self) -> Self:
        if (cut := sum(self.hold_out.values())) >= 1:
            raise ValueError(
                f"hold_out cuts off {cut:.4g} of the records; lower its shares so that some stay"
            )
        return self


class Rulebook(Config):
    """What is looked for in records, and what is done about it."""

    clean: Clean | None = None
    """Bring texts into one writing and remove records not fit to learn from; ``standard`` for the usual way. Default:
    nothing is changed. Held-out splits are never cleaned."""
    deidentify: Deidentification = Deidentification()
    """Personal data of patients and clinicians; ``{mode: replace}`` puts placeholders there."""
    duplicates: Duplicates = Duplicates()
    """Records that are there more than once."""
    leaks: Leaks = Leaks()
    """Training records that hold items of benchmarks or of held-out splits."""


@dataclass
class Draft:
    """A split before it is cut: the records that its rows made, but those that cleaning removed."""

    name: str
    split: Split
    path: Path
    accounts: list[tuple[Source, SourceAccount]] = field(default_factory=list)
    kind: Kind | None = None
    records: int = 0

    @property
    def file(self) -> SplitFile:
        return SplitFile(self.name, self.path, self.split.held_out)

    @property
    def record_kind(self) -> Kind:
        assert self.kind is not None, "read before a record was"
        return self.kind

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The account of each source."""
        return [
            {"path": source.path, "licence": source.licence, **account.to_json()}
            for source, account in self.accounts
        ]


@dataclass(frozen=True)
class Part:
    """A finished split: a draft, or what was cut from it."""

    file: SplitFile
    draft: Draft
    records: int

    @property
    def cut_from(self) -> str | None:
        return self.draft.name if self.file.name != self.draft.name else None


@dataclass
class Built:
    """What came out."""

    parts: list[Part]
    removed: dict[str, dict[str, Counter[str]]]
    """Split (as drafted) -> step -> reason -> records."""
    report: dict[str, Any]
    """What each step has to say, by its name."""

    @property
    def files(self) -> list[dict[str, Any]]:
        """The account of every file that was read."""
        drafts = {part.draft.name: part.draft for part in self.parts}.values()
        accounts = [account for draft in drafts for _, account in draft.accounts]
        return [file.to_json() for account in accounts for file in account.files]


class Removals:
    """``removed.jsonl``: a line for every record that a rule took out, and the counts; a context manager."""

    def __init__(self, path: Path):
        self._file = path.open("w", encoding="utf-8")
        self.counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def add(self, split: str, origin: Origin, removal: Removal) -> None:
        self.counts[split][removal.step][removal.reason] += 1
        row = {"split": split, "origin": str(origin), **removal.to_json()}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


class Builder:
    """Builds splits in ``folder``; ``scratch`` holds what is between.

    Args:
        processes: for what is done to each record for itself. The result is the same for any number.
    """

    def __init__(self, rules: Rulebook, *, folder: Path, scratch: Path, seed: int, processes: int = 1):
        self.rules, self.folder, self.scratch = rules, folder, scratch
        self.seed, self.processes = seed, processes
        replacing = rules.deidentify.mode == "replace"
        self._key = project_key(rules.deidentify) if replacing else None
        self._redact = redactor(rules.deidentify, self._key) if replacing else None

    def build(self, splits: Mapping[str, Split]) -> Built:
        """Raises: DataError, for a source without a usable row and for a split that ends without a record."""
        with (
            Quarantine(self.folder / QUARANTINE, redact=self._redact) as quarantine,
            Removals(self.folder / REMOVED) as removals,
        ):
            report: dict[str, Any] = {}
            drafts = self._read(splits, quarantine, removals, report)
            clusters = self._copies(drafts, removals, report)
            parts = [part for draft in drafts for part in self._cut(draft, clusters)]
            parts = self._without_leaks(parts, quarantine, removals, report)
        for part in parts:
            if not part.records:
                raise DataError(_empty(part, removals.counts[part.draft.name]))
        return Built(parts, removals.counts, report)

    def _read(
        self,
        splits: Mapping[str, Split],
        quarantine: Quarantine,
        removals: Removals,
        report: dict[str, Any],
    ) -> list[Draft]:
        """Sources in, a draft of each split out, treated record by record."""
        trained = Treatment(Rules(self.rules.clean, self.rules.deidentify, self._key))
        held_out = Treatment(Rules(None, self.rules.deidentify, self._key))
        drafts = []
        for name, split in splits.items():
            draft = Draft(name, split, self.scratch / f"{name}.jsonl")
            treatment = held_out if split.held_out else trained
            self._draft(draft, treatment, quarantine, removals)
            drafts.append(draft)
        trained.deidentifier.found.merge(held_out.deidentifier.found)
        if trained.cleaning:
            report["clean"] = trained.cleaning.to_json()
        if self.rules.deidentify.mode != "off":
            found = trained.deidentifier.found.to_json()
            report["deidentify"] = {"mode": self.rules.deidentify.mode, **found}
        return drafts

    def _draft(self, draft: Draft, treatment: Treatment, quarantine: Quarantine, removals: Removals) -> None:
        draft.path.parent.mkdir(parents=True, exist_ok=True)
        bars = progress(None, f"reading {draft.name}", interruptible=True)
        with draft.path.open("w", encoding="utf-8") as file, bars as bar:
            for source in draft.split.sources:
                account = SourceAccount()
                draft.accounts.append((source, account))
                records = read(source, kind=draft.kind, account=account, quarantine=quarantine)
                for before, after in treatment.all(records, processes=self.processes):
                    draft.kind = draft.kind or kind_of(before)
                    bar.advance(1)
                    if isinstance(after, Removal):
                        removals.add(draft.name, before.origin, after)
                    else:
                        file.write(_as_text(after.to_json()) + "\n")
                        draft.records += 1

    def _copies(self, drafts: list[Draft], removals: Removals, report: dict[str, Any]) -> Clusters | None:
        rules = self.rules.duplicates
        if rules.mode == "off":
            return None
        clusters = find_duplicates([draft.file for draft in drafts], rules)
        report["duplicates"] = {"mode": rules.mode, **clusters.to_json()}
        if rules.mode == "remove":
            for copy in clusters.copies():
                removals.add(copy.split, copy.origin, copy.removal)
        return clusters

    def _cut(self, draft: Draft, clusters: Clusters | None) -> Iterator[Part]:
        """The split's own file and those of the parts cut from it, without copies if they are removed."""
        from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

        dropped: set[int] = set()
        if clusters and self.rules.duplicates.mode == "remove":
            dropped = {copy.line for copy in clusters.copies(draft.name)}
        names = [draft.name, *draft.split.hold_out]
        dealt: NDArray[np.int64] | None = None
        if draft.split.hold_out:
            groups = group(read_split(draft.path), clusters=clusters.of(draft.name) if clusters else None)
            kept = np.setdiff1d(np.arange(len(groups)), np.fromiter(dropped, np.int64, len(dropped)))
            dealt = np.zeros(len(groups), np.int64)
            dealt[kept] = assign(groups[kept], draft.split.hold_out, seed=self.seed)
        paths = [self.folder / f"{name}.jsonl" for name in names]
        if dropped or dealt is not None:
            counts = _deal(draft.path, paths, dropped, dealt)
            draft.path.unlink()
        else:
            counts = [draft.records]
            draft.path.replace(paths[0])
        for name, path, count in zip(names, paths, counts, strict=True):
            file = SplitFile(name, path, draft.split.held_out or name != draft.name)
            yield Part(file, draft, count)

    def _without_leaks(
        self, parts: list[Part], quarantine: Quarantine, removals: Removals, report: dict[str, Any]
    ) -> list[Part]:
        rules = self.rules.leaks
        files = [part.file for part in parts]
        if rules.mode == "off" or not any(not file.held_out for file in files):
            return parts
        found = find_leaks(files, load_protected(rules, files, quarantine), rules)
        found.write(self.folder / leaks.FILE)
        report["leaks"] = {"mode": rules.mode, **found.to_json()}
        if rules.mode == "report":
            return parts
        return [self._spared(part, found, removals) for part in parts]

    def _spared(self, part: Part, found: LeakReport, removals: Removals) -> Part:
        """The part without the records that leak."""
        leaking = found.removals(part.file.name)
        if not leaking:
            return part
        origins = {leak.line: leak.origin for leak in found.leaks if leak.split == part.file.name}
        for line, removal in leaking.items():
            removals.add(part.draft.name, origins[line], removal)
        kept = self.scratch / f"{part.file.name}.kept.jsonl"
        (count,) = _deal(part.file.path, [kept], leaking.keys(), None)
        kept.replace(part.file.path)
        return Part(part.file, part.draft, count)


def _deal(
    path: Path, targets: list[Path], dropped: Collection[int], dealt: NDArray[np.int64] | None
) -> list[int]:
    """Copy each line of ``path`` but those ``dropped`` to its target, the first by default; how many each got."""
    counts = [0] * len(targets)
    files = [target.open("wb") for target in targets]
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if number not in dropped:
                    place = 0 if dealt is None else int(dealt[number])
                    files[place].write(line)
                    counts[place] += 1
    finally:
        for file in files:
            file.close()
    return counts


def _empty(part: Part, removed: Mapping[str, Counter[str]]) -> str:
    top = {f"{step}: {reason}": count for step, each in removed.items() for reason, count in each.items()}
    if not top and part.draft.split.hold_out:
        return (
            f"split '{part.file.name}': no record in it, for hold_out deals out whole dialogues, patients and sets of "
            f"copies, and '{part.draft.name}' has too few; give it more rows, or cut fewer splits off"
        )
    if not top:
        return f"split '{part.file.name}': no record in it; give it more rows or drop it"
    reason, count = max(top.items(), key=lambda item: item[1])
    return (
        f"split '{part.file.name}': no record is left in it ({count} removed by {reason}); "
        f"loosen that rule, give it more rows, or drop it ({REMOVED} holds every record that was removed)"
    )
