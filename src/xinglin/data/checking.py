"""What is in the files at a path: rows by reason, languages, lengths, copies, leaks, personal data, licences.

Everything is read once; records go to a temporary folder, a file for each file that was read, so that memory does not
grow with the data.
"""

import json
import secrets
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from xinglin.data import licences
from xinglin.data.accounting import FileAccount, Quarantine, SourceAccount
from xinglin.data.copies.duplicates import Duplicates, SplitFile, find_duplicates
from xinglin.data.copies.leaks import Leaks, find_leaks
from xinglin.data.copies.protected import Protected
from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.overlength import Fitted, OverLength, fit_many
from xinglin.data.records import Conversation, Preference, Question, Record, kind_of, texts
from xinglin.data.rendering import Renderer
from xinglin.data.sources import Source, read
from xinglin.data.splits import read_split
from xinglin.data.treatment import redactor
from xinglin.data.writing.language import chinese_share
from xinglin.errors import DataError
from xinglin.runtime.progress import progress

DEPARTMENT = ("department", "科室", "label", "cate1")
"""Keys of ``meta`` that say which department a record is of."""
TOKENISED = 2000
"""Records of a file whose tokens are counted, spread evenly."""
SAMPLES = 2
"""Records of a file that are shown as they would be trained on."""
TOP = 12
SHOWN = Deidentification(mode="replace")
"""Whatever is shown of a record has gone through this."""
_KEY = secrets.token_bytes(32)
_CHINESE, _MIXED = 0.8, 0.2

MakeRenderer = Callable[[Iterator[str]], Renderer]
"""Makes what counts tokens and shows masks; is given texts in case it has to train a tokenizer first."""


@dataclass
class Statistics:
    """What is counted of the records of one file."""

    path: Path
    """Its records, as JSON Lines."""
    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    departments: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    """Conversations by answers."""
    characters: "array[int]" = field(default_factory=lambda: array("q"))
    personal: Deidentifier = field(default_factory=lambda: Deidentifier(Deidentification(examples=1)))

    def add(self, record: Record) -> None:
        self.kinds[kind_of(record)] += 1
        said = texts(record)
        self.languages[_language(said)] += 1
        self.characters.append(sum(map(len, said)))
        if isinstance(record, Conversation):
            self.turns[sum(message.role == "assistant" for message in record.messages)] += 1
        named = next((record.meta[key] for key in DEPARTMENT if record.meta.get(key)), None)
        if isinstance(named, str):
            self.departments[named] += 1
        self.personal.apply(record)

    @property
    def benchmark(self) -> bool:
        """Whether it holds exam questions, which are for evaluation."""
        return self.kinds["question"] > sum(self.kinds.values()) / 2

    def to_json(self) -> dict[str, Any]:
        return {
            "kinds": dict(self.kinds),
            "languages": dict(self.languages.most_common()),
            "characters": _percentiles(self.characters),
            "turns": _percentiles(list(self.turns.elements())),
            "departments": dict(self.departments.most_common(TOP)),
            "num_departments": len(self.departments),
            "personal": self.personal.found.to_json(),
        }


@dataclass(frozen=True)
class Asked:
    """What to check, and against what."""

    paths: Sequence[str]
    against: Sequence[str] = ()
    """Benchmarks: files or folders whose items must not be in the training text. Exam questions among ``paths``
    count, too."""
    quarantine: Path | None = None
    """Where the rows that cannot be used are written."""
    max_tokens: int = 2048
    """Longer records are counted."""


def check(asked: Asked, make_renderer: MakeRenderer) -> dict[str, Any]:
    """The report; see docs/data.md for its fields.

    Raises:
        DataError: a path with no file, or with none that holds a row to use.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xinglin-check-")))
        target = asked.quarantine or folder / "quarantine.jsonl"
        quarantine = stack.enter_context(Quarantine(target, redact=redactor(SHOWN, _KEY)))
        read_files = [file for path in asked.paths for file in _read(path, folder, quarantine)]
        protected = [file for path in asked.against for file in _read(path, folder, quarantine)]
        found = {account.path: statistics for account, statistics in read_files if statistics}
        return {
            "files": _files(read_files, asked, make_renderer),
            "duplicates": _duplicates(found),
            "leaks": _leaks(found, {a.path: s for a, s in protected if s}),
        }


def _read(path: str, folder: Path, quarantine: Quarantine) -> list[tuple[FileAccount, Statistics | None]]:
    """The files at ``path``, with what is counted of each that holds a record."""
    account = SourceAccount()
    found: dict[str, Statistics] = {}
    number = len(list(folder.iterdir()))
    with progress(None, f"reading {path}") as bar:
        spool: TextIO | None = None
        try:
            for record in read(Source(path=path), kind="any", account=account, quarantine=quarantine):
                name = account.files[-1].path
                if name not in found:
                    if spool:
                        spool.close()
                    found[name] = Statistics(folder / f"{number + len(found)}.jsonl")
                    spool = found[name].path.open("w", encoding="utf-8")
                assert spool is not None
                found[name].add(record)
                spool.write(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
                bar.advance(1)
        except DataError:
            # A file that stands alone and cannot be read has an account like those in folders.
            if not account.files:
                raise
        finally:
            if spool:
                spool.close()
    return [(file, found.get(file.path)) for file in account.files]


def _files(
    read_files: list[tuple[FileAccount, Statistics | None]], asked: Asked, make_renderer: MakeRenderer
) -> list[dict[str, Any]]:
    held = [statistics for _, statistics in read_files if statistics]
    roots = [Path(path) for path in asked.paths]
    renderer = make_renderer(_spread(held)) if held else None
    made = []
    for account, statistics in read_files:
        row = account.to_json() | {"examples": dict(account.examples)} | _licence(account.path, roots)
        row |= (statistics or Statistics(Path())).to_json()
        if statistics and renderer:
            row |= _tokens(statistics, renderer, asked.max_tokens)
        made.append(row)
    return made


def _licence(path: str, roots: list[Path]) -> dict[str, Any]:
    parent = Path(path).parent
    root = next((root for root in roots if root == parent or root in parent.parents), parent)
    named = licences.beside(parent, root) if parent.is_dir() else None
    return {"licence": named or licences.UNKNOWN, "licence_warning": licences.warning(named)}


def _tokens(statistics: Statistics, renderer: Renderer, max_tokens: int) -> dict[str, Any]:
    """Lengths in tokens of records spread over the file."""
    total = sum(statistics.kinds.values())
    spread = read_split(statistics.path, every=-(-total // TOKENISED))
    lengths: list[int] = []
    reasons: Counter[str] = Counter()
    for _, fitted in _fitted(spread, renderer):
        lengths.extend(len(piece) for piece in fitted.pieces)
        reasons.update([fitted.reason] if fitted.reason else [])
    beyond = sum(length > max_tokens for length in lengths)
    return {
        "tokens": _percentiles(lengths) | {"counted": len(lengths), "longer": beyond, "than": max_tokens},
        "not_renderable": dict(reasons),
        "samples": list(_samples(statistics, renderer)),
    }


def _samples(statistics: Statistics, renderer: Renderer) -> Iterator[dict[str, Any]]:
    """Some records as they would be trained on, without personal data: ``parts`` are [text, trained] pieces."""
    deidentifier = Deidentifier(SHOWN, key=_KEY)
    total = sum(statistics.kinds.values())
    spread = map(deidentifier.apply, read_split(statistics.path, every=-(-total // SAMPLES)))
    for record, fitted in _fitted(spread, renderer):
        for piece in fitted.pieces[: 2 if isinstance(record, Preference) else 1]:
            yield {"origin": str(record.origin), "parts": renderer.visible(piece)}


def _fitted(records: Iterator[Record], renderer: Renderer) -> Iterator[tuple[Record, Fitted]]:
    """What can be trained on, rendered whole however long it is."""
    trainable = (record for record in records if not isinstance(record, Question))
    while chunk := list(islice(trainable, 256)):
        for fitted in fit_many(chunk, renderer, max_tokens=sys.maxsize, policy="drop", counter=OverLength()):
            yield chunk[fitted.index], fitted


def _duplicates(found: dict[str, Statistics]) -> dict[str, Any]:
    splits = [SplitFile(name, statistics.path) for name, statistics in found.items()]
    clusters = find_duplicates(splits, Duplicates())
    copies = Counter(copy.split for copy in clusters.copies())
    between = Counter((copy.split, copy.of_split) for copy in clusters.copies())
    return clusters.to_json() | {
        "by_file": dict(copies),
        "files": [
            {"copies_in": left, "kept_in": right, "records": count}
            for (left, right), count in between.most_common()
        ],
    }


def _leaks(found: dict[str, Statistics], against: dict[str, Statistics]) -> dict[str, Any]:
    """Items of ``against``, and of exams that were found themselves, in everything else."""
    rules = Leaks()
    exams = against | {name: each for name, each in found.items() if each.benchmark}
    protected = [
        Protected.from_records(name, read_split(each.path), lengths=rules.lengths)
        for name, each in exams.items()
    ]
    searched = [SplitFile(name, each.path) for name, each in found.items() if name not in exams]
    report = find_leaks(searched, protected, rules)
    records = {(leak.split, leak.line) for leak in report.leaks}
    return report.to_json() | {"by_file": dict(Counter(split for split, _ in records))}


def _spread(held: list[Statistics]) -> Iterator[str]:
    """Texts of all files in turn, for a tokenizer."""
    for statistics in held:
        total = sum(statistics.kinds.values())
        for record in read_split(statistics.path, every=-(-total // 300)):
            yield from texts(record)


def _language(said: Sequence[str]) -> str:
    share = chinese_share("\n".join(said))
    if share is None:
        return "other"
    return "zh" if share >= _CHINESE else "mixed" if share >= _MIXED else "en"


def _percentiles(values: Sequence[int]) -> dict[str, int]:
    if not len(values):
        return {}
    points = np.percentile(np.asarray(values), [0, 50, 90, 99, 100], method="inverted_cdf")
    return dict(zip(("min", "p50", "p90", "p99", "max"), map(int, points), strict=True))
