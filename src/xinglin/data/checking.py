"""What is in the files at a path: rows by reason, languages, lengths, copies, leaks, personal data, licences.

Everything is read once; records go to a temporary folder, a file for each file that was read, so that memory does not
grow with the data.
"""

import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from xinglin.data import licences
from xinglin.data.accounting import FileAccount, Quarantine, SourceAccount
from xinglin.data.census import Census, counted, percentiles
from xinglin.data.copies.duplicates import Duplicates, SplitFile, find_duplicates
from xinglin.data.copies.leaks import Leaks, find_leaks
from xinglin.data.copies.protected import Protected
from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.overlength import Fitted, OverLength, fit_many
from xinglin.data.records import Preference, Question, Record, texts
from xinglin.data.rendering import Renderer
from xinglin.data.sources import Source, read
from xinglin.data.splits import read_split, sample_texts
from xinglin.data.treatment import redactor
from xinglin.errors import DataError
from xinglin.runtime.processes import in_order
from xinglin.runtime.progress import progress
from xinglin.runtime.temporary import temporary_folder

TOKENISED = 2000
"""Records of a file whose tokens are counted, spread evenly."""
SAMPLES = 2
"""Records of a file that are shown as they would be trained on."""
TRAINED_BYTES = 1 << 20
"""Of all files together, that a tokenizer is trained on: four times as much takes four times as long and saves 3 % of
the tokens."""
SHOWN = Deidentification(mode="replace")
"""Whatever is shown of a record has gone through this."""
_KEY = secrets.token_bytes(32)
_CHUNK = 256
_CHUNK_CHARACTERS = 1 << 18

MakeRenderer = Callable[[Iterator[str]], Renderer]
"""Makes what counts tokens and shows masks; is given texts in case it has to train a tokenizer first."""


@dataclass
class Held:
    """The records of one file."""

    path: Path
    """JSON Lines of them."""
    census: Census = field(default_factory=Census)

    def spread(self, most: int) -> Iterator[Record]:
        """At most so many, spread evenly."""
        return read_split(self.path, every=-(-self.census.records // most))


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
    processes: int = 1
    """That look through the records; the report is the same for any number."""


def check(asked: Asked, make_renderer: MakeRenderer) -> dict[str, Any]:
    """The report; see docs/data.md for its fields.

    Raises:
        DataError: a path with no file, or with none that holds a row to use.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("xinglin-check-"))
        target = asked.quarantine or folder / "quarantine.jsonl"
        quarantine = stack.enter_context(Quarantine(target, redact=redactor(SHOWN, _KEY)))
        reader = _Reader(folder, quarantine, asked.processes)
        read_files = [file for path in _apart(asked.paths) for file in reader.read(path)]
        protected = [file for path in asked.against for file in reader.read(path)]
        found = {account.path: held for account, held in read_files if held}
        return {
            "files": _files(read_files, asked, make_renderer),
            "duplicates": _duplicates(found),
            "leaks": _leaks(found, {account.path: held for account, held in protected if held}),
        }


def _apart(paths: Sequence[str]) -> list[str]:
    """Without those that are named twice, or are in a folder that is named too.

    Raises:
        DataError: a name that is not UTF-8.
    """
    for path in paths:
        if (shown := path.encode(errors="replace").decode()) != path:
            raise DataError(f"{shown}: the name is not UTF-8; name the folder that holds it, or rename it")
    places = {Path(path).resolve(): path for path in paths}
    return [
        path for place, path in places.items() if not (place.exists() and places.keys() & set(place.parents))
    ]


@dataclass
class _Reader:
    """Writes records into ``folder``, a file for each that was read, and counts them."""

    folder: Path
    quarantine: Quarantine
    processes: int
    files: int = 0

    def read(self, path: str) -> list[tuple[FileAccount, Held | None]]:
        """The files at ``path``, with the records of each that holds one."""
        account = SourceAccount()
        found: dict[str, Held] = {}
        chunks = _chunks(self._records(path, account), account)
        with progress(None, f"reading {path}") as bar:
            for (name, records), (lines, census) in in_order(_counted, chunks, processes=self.processes):
                if name not in found:
                    found[name] = Held(self.folder / f"{self.files}.jsonl")
                    self.files += 1
                with found[name].path.open("a", encoding="utf-8") as file:
                    file.write(lines)
                found[name].census.merge(census)
                bar.advance(len(records))
        return [(file, found.get(file.path)) for file in account.files]

    def _records(self, path: str, account: SourceAccount) -> Iterator[Record]:
        try:
            yield from read(Source(path=path), kind="any", account=account, quarantine=self.quarantine)
        except DataError:
            # A file that stands alone and cannot be read has an account like those in folders.
            if not account.files:
                raise


def _chunks(records: Iterator[Record], account: SourceAccount) -> Iterator[tuple[str, list[Record]]]:
    """Some records of one file at a time, and its name."""
    name, chunk, size = "", [], 0
    for record in records:
        file = account.files[-1].path
        if chunk and (file != name or len(chunk) == _CHUNK or size > _CHUNK_CHARACTERS):
            yield name, chunk
            chunk, size = [], 0
        name = file
        chunk.append(record)
        size += sum(map(len, texts(record)))
    if chunk:
        yield name, chunk


def _counted(chunk: tuple[str, list[Record]]) -> tuple[str, Census]:
    return counted(chunk[1])


def _files(
    read_files: list[tuple[FileAccount, Held | None]], asked: Asked, make_renderer: MakeRenderer
) -> list[dict[str, Any]]:
    all_held = [held for _, held in read_files if held]
    roots = [Path(path) for path in asked.paths]
    renderer = _renderer(all_held, make_renderer) if all_held else None
    redact = redactor(SHOWN, _KEY)
    made = []
    for account, held in read_files:
        row = account.to_json() | {"examples": dict(account.examples)} | _licence(account.path, roots)
        row |= (held.census if held else Census()).to_json(redact)
        if held and renderer:
            row |= _tokens(held, renderer, asked.max_tokens)
        made.append(row)
    return made


def _renderer(held: list[Held], make_renderer: MakeRenderer) -> Renderer:
    """Made with texts of all files in turn, and ready for what is counted of them."""
    most = -(-TRAINED_BYTES // len(held))
    renderer = make_renderer(text for each in held for text in sample_texts(each.path, max_bytes=most))
    shares = ((each.path.stat().st_size, min(1.0, TOKENISED / each.census.records)) for each in held)
    renderer.expect(round(sum(size * share for size, share in shares)))
    return renderer


def _licence(path: str, roots: list[Path]) -> dict[str, Any]:
    parent = Path(path).parent
    root = next((root for root in roots if root == parent or root in parent.parents), parent)
    named = licences.beside(parent, root) if parent.is_dir() else None
    return {"licence": named or licences.UNKNOWN, "licence_warning": licences.warning(named)}


def _tokens(held: Held, renderer: Renderer, max_tokens: int) -> dict[str, Any]:
    """Lengths in tokens of records spread over the file."""
    lengths: list[int] = []
    reasons: Counter[str] = Counter()
    for _, fitted in _fitted(held.spread(TOKENISED), renderer):
        lengths.extend(len(piece) for piece in fitted.pieces)
        reasons.update([fitted.reason] if fitted.reason else [])
    beyond = sum(length > max_tokens for length in lengths)
    return {
        "tokens": percentiles(lengths) | {"counted": len(lengths), "longer": beyond, "than": max_tokens},
        "not_renderable": dict(reasons),
        "samples": list(_samples(held, renderer)),
    }


def _samples(held: Held, renderer: Renderer) -> Iterator[dict[str, Any]]:
    """Some records as they would be trained on, without personal data: ``parts`` are [text, trained] pieces."""
    deidentifier = Deidentifier(SHOWN, key=_KEY)
    for record, fitted in _fitted(map(deidentifier.apply, held.spread(SAMPLES)), renderer):
        for piece in fitted.pieces[: 2 if isinstance(record, Preference) else 1]:
            yield {"origin": str(record.origin), "parts": renderer.visible(piece)}


def _fitted(records: Iterator[Record], renderer: Renderer) -> Iterator[tuple[Record, Fitted]]:
    """What can be trained on, rendered whole however long it is."""
    trainable = (record for record in records if not isinstance(record, Question))
    while chunk := list(islice(trainable, 256)):
        for fitted in fit_many(chunk, renderer, max_tokens=sys.maxsize, policy="drop", counter=OverLength()):
            yield chunk[fitted.index], fitted


def _duplicates(found: dict[str, Held]) -> dict[str, Any]:
    splits = [SplitFile(name, held.path) for name, held in found.items()]
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


def _leaks(found: dict[str, Held], against: dict[str, Held]) -> dict[str, Any]:
    """Items of ``against``, and of exams that were found themselves, in everything else."""
    rules = Leaks()
    exams = against | {name: each for name, each in found.items() if each.census.benchmark}
    protected = [
        Protected.from_records(name, read_split(each.path), lengths=rules.lengths)
        for name, each in exams.items()
    ]
    searched = [SplitFile(name, each.path) for name, each in found.items() if name not in exams]
    report = find_leaks(searched, protected, rules)
    records = {(leak.split, leak.line) for leak in report.leaks}
    return report.to_json() | {"by_file": dict(Counter(split for split, _ in records))}
