"""From a path in a recipe to records: find the files, read their rows, let a format parse each row."""

import hashlib
import importlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.config.validate import build
from xinglin.data import containers, places
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.containers import Container, Row, Unreadable, UnreadableFile
from xinglin.data.formats import Reject, Repair
from xinglin.data.places import Place, few
from xinglin.data.records import Kind, Origin, Record
from xinglin.errors import DataError, PluginError

FORMATS = "xinglin.data.formats"
SAMPLE = "sample:"
SAMPLES = "xinglin.data.samples"
HEAD = 8192
"""Characters by which a format knows a plain text file."""
CURES = {
    "unknown_format": "name the format with `format:` (see `xinglin list`), map its columns with `format: mapped`, "
    "or convert the rows to messages",
    "wrong_format": "leave `format:` out to detect it per row, or name the right one",
    "wrong_record_kind": "move the source to a split of the kind its rows make",
    "ambiguous_format": "name the format with `format:`",
    "ambiguous_answer": "set `options: {first_option: 0}` or 1",
    "not_json": "repair the file; each line must be one JSON value",
    "needs_processed_json": "name the JSON files, or use `options: {variant: clean}`",
}


class Source(Config):
    path: Annotated[str, Field(min_length=1)]
    """A file, a folder (all files in it), a glob, ``dataset_info.json#NAME`` for a data set of LLaMA-Factory's
    registry, ``hub:org/name`` for one of the Hugging Face Hub, or ``sample:NAME`` for data that come with xinglin."""
    format: str | None = None
    """The format of the rows, a file in ``data/formats``. None: detected row by row."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The format's own options; they need ``format``."""
    licence: str | None = None
    """Under which terms the data came; carried by every record."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Rows to take, used or not; the rows after them are not read."""

    @model_validator(mode="after")
    def _options_of_format(self) -> Self:
        if self.format is None:
            if self.options:
                raise ValueError("options need a format; name it with `format:`")
            return self
        try:
            options = plugins.load(FORMATS, self.format).Options
        except PluginError as error:
            raise ValueError(str(error)) from error
        build(options, self.options, name="options")
        return self

    @property
    def makes(self) -> Kind | None:
        """The kind of record that its rows make; None where only reading them tells."""
        if self.format:
            return _load(self.format, self.options).makes
        if self.path.startswith(SAMPLE):
            kind: Kind | None = importlib.import_module(SAMPLES).KINDS.get(self.path.removeprefix(SAMPLE))
            return kind
        return None


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    module: ModuleType
    options: Config
    makes: Kind
    """The kind of its records, which the options of some formats decide."""


@dataclass(frozen=True, slots=True)
class _Formats:
    """The formats that a row may be of: the one that is named, or all that can be detected."""

    all: list[_Format]
    seen: dict[Any, _Format] = field(default_factory=dict)
    """What rows with the same keys were."""

    def claim(self, value: Any) -> tuple[_Format, Any]:
        """The format of a row, and the row without keys that have no value, unless nothing else is left.

        Raises: Reject.
        """
        for row in _readings(value):
            shape = tuple(row) if isinstance(row, dict) else type(row)
            before = self.seen.get(shape)
            if before and before.module.matches(row):
                return before, row
            claiming = [format for format in self.all if format.module.matches(row)]
            # ``text`` takes what nothing else claims.
            claiming = [format for format in claiming if format.name != "text"] or claiming
            if len(claiming) > 1:
                names = " and ".join(format.name for format in claiming)
                raise Reject("ambiguous_format", f"{names} fit; name one with `format:`")
            if claiming:
                # ``text`` would take the next bare string too, whatever that is.
                if claiming[0].name != "text":
                    self.seen[shape] = claiming[0]
                return claiming[0], row
        raise self._unmatched(value)

    def _unmatched(self, value: Any) -> Reject:
        shape = f"keys {few(value)}" if isinstance(value, dict) else type(value).__name__
        if len(self.all) > 1:
            return Reject("unknown_format", shape)
        other = next((format.name for format in _detectable() if format.module.matches(value)), None)
        return Reject(
            "wrong_format", f"no row of '{self.all[0].name}': {shape}" + (f"; is '{other}'" if other else "")
        )


def _readings(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict) and None in value.values():
        return {key: part for key, part in value.items() if part is not None}, value
    return (value,)


def files(source: Source) -> list[Path]:
    """The files of ``source``, sorted. A sample's files are those of its generator.

    Raises:
        DataError: nothing is there; names the nearest thing that is.
    """
    if source.path.startswith(SAMPLE):
        module = importlib.import_module(SAMPLES)
        return sorted(p for p in Path(str(module.__file__)).parent.rglob("*") if p.suffix in (".py", ".yaml"))
    return [place.path for place in places.find(source.path)]


def content_hash(source: Source) -> str:
    """SHA-256 over the bytes of all files of ``source`` in order and what a registry says of them, as 64 hex digits."""
    total = hashlib.sha256()
    for path in files(source):
        total.update(_digest(path))
    for place in [] if source.path.startswith(SAMPLE) else places.find(source.path):
        total.update(json.dumps(place.entry.given).encode() if place.entry else b"")
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or move it") from error


def read(
    source: Source, *, kind: Kind | Literal["any"] | None, account: SourceAccount, quarantine: Quarantine
) -> Iterator[Record]:
    """The records of ``source`` in order. Every row is counted in ``account`` (a fresh one per source) once,
    as used or as quarantined; the latter are written to ``quarantine``. A file of a folder, pattern or archive that
    cannot be read has an account with a reason; what is left of one that breaks on the way is one quarantined row.

    Args:
        kind: the only kind of record to take; rows that make another are quarantined. None: the kind of the
            first row that can be used. ``any``: all kinds.

    Raises:
        DataError: a file that is named by itself and cannot be read to its end, or no row that can be used.
    """
    named = _load(source.format, source.options) if source.format else None
    if named and kind not in (None, "any", named.makes):
        raise DataError(f"{source.path}: format '{named.name}' makes {named.makes} records, not {kind}")
    formats = _Formats([named] if named else _detectable())
    for row, file, place in itertools.islice(_rows(source, formats, account), source.max_rows):
        origin = Origin(file, row.number, source.licence)
        try:
            format, records, repairs = _parse(row, formats, kind, origin, place)
        except Reject as reject:
            raw = row.raw if isinstance(row, Unreadable) else row.value
            account.reject(reject.reason, f"{origin}: {quarantine.redact(reject.detail)}")
            quarantine.add(file=file, row=row.number, reason=reject.reason, detail=reject.detail, raw=raw)
            continue
        kind = kind or format.makes
        account.use(format=format.name, records=len(records), repairs=repairs)
        yield from records
    if not account.rows_used:
        raise DataError(_nothing_used(source, account))


def _load(name: str, options: dict[str, Any]) -> _Format:
    module = plugins.load(FORMATS, name)
    chosen = module.Options(**options)
    decide = getattr(module, "record", None)
    return _Format(name, module, chosen, decide(chosen) if decide else module.RECORD)


def _detectable() -> list[_Format]:
    """All formats with their default options; ``text`` is asked last, for it takes every bare string."""
    names = [name for name in plugins.names(FORMATS) if not hasattr(plugins.load(FORMATS, name), "record")]
    return [_load(name, {}) for name in sorted(names, key=lambda name: (name == "text", name))]


def _rows(
    source: Source, formats: _Formats, account: SourceAccount
) -> Iterator[tuple[Row | Unreadable, str, Place | None]]:
    """Each row, the name of its file, and where that was found."""
    if source.path.startswith(SAMPLE):
        samples = importlib.import_module(SAMPLES)
        account.open(source.path)
        for number, value in enumerate(samples.rows(source.path.removeprefix(SAMPLE)), start=1):
            yield Row(number, value), source.path, None
        return
    for place in places.find(source.path):
        if place.entry and place.entry.fault:
            account.open(str(place.path)).leave("bad_registry_entry", place.entry.fault)
            continue
        for file in containers.members(place.path):
            limit, name = place.entry.max_rows if place.entry else None, str(file)
            for row in itertools.islice(_file_rows(file, place, formats, account), limit):
                yield row, name, place


def _file_rows(
    file: containers.File, place: Place, formats: _Formats, account: SourceAccount
) -> Iterator[Row | Unreadable]:
    """The rows of one file; what cannot be read of it is accounted for, and raised if the file stands alone."""
    counted = account.open(str(file))
    if place.is_about_data or places.is_about_data(Path(file.member).name):
        counted.leave("not_data", f"{file}: a page or program beside the data, by its name")
        return
    number = 0
    try:
        container = containers.inspect(file)
        counted.container = container.kind
        counted.encoding = container.encoding.name if container.encoding else ""
        for row in container.rows() if container.has_rows else _cut(container, formats):
            number = row.number
            yield row
        if not number:
            counted.leave("no_row", f"{file}: holds no row; write rows into it, or leave it out")
    except UnreadableFile as error:
        if counted.container and (number or error.reason.startswith("broken")):
            yield Unreadable(number + 1, error.reason, str(error), "")
        else:
            counted.leave(error.reason, str(error))
        if place.alone and not file.member:
            raise


def _cut(container: Container, formats: _Formats) -> Iterator[Row]:
    """The rows of a plain text file, as the format that knows its beginning cuts them."""
    lines = container.lines()
    start = []
    while sum(map(len, start)) < HEAD and (line := next(lines, None)) is not None:
        start.append(line)
    head = "".join(start)
    cutting = [format for format in formats.all if format.module.UNIT == "file"]
    format = next((format for format in cutting if format.module.matches(head)), None)
    if format is None:
        raise UnreadableFile(
            "wrong_format",
            f"{container.file}: a plain text file without rows of '{formats.all[0].name}'; "
            "name a JSON or CSV file, or another format",
        )
    for number, value in format.module.cut(itertools.chain(start, lines), format.options):
        yield Row(number, value)


def _parse(
    row: Row | Unreadable, formats: _Formats, kind: str | None, origin: Origin, place: Place | None
) -> tuple[_Format, list[Record], list[str]]:
    """The format of a row, its records, and the names of the repairs. Raises: Reject."""
    if isinstance(row, Unreadable):
        raise Reject(row.reason, row.detail)
    value = row.value
    if fault := containers.fault(value):
        raise Reject(*fault)
    if place and place.entry:
        value = place.entry.renamed(value)
    format, value = formats.claim(value)
    if kind not in (None, "any", format.makes):
        raise Reject("wrong_record_kind", f"'{format.name}' makes {format.makes}, not {kind}")
    value, origin = _own_origin(value, origin)
    made = list(format.module.parse(value, format.options, origin))
    records = [item for item in made if not isinstance(item, Repair)]
    if not records:
        raise Reject("empty", f"'{format.name}' makes no record of it")
    return format, records, [item.name for item in made if isinstance(item, Repair)]


def _own_origin(value: Any, origin: Origin) -> tuple[Any, Origin]:
    """A row that xinglin wrote knows where it first came from; that is kept."""
    own = value.get("origin") if isinstance(value, dict) else None
    if not isinstance(own, dict) or not _is_origin(own):
        return value, origin
    value = {key: part for key, part in value.items() if key != "origin"}
    return value, Origin(own["file"], own["row"], own.get("licence") or origin.licence)


def _is_origin(own: dict[str, Any]) -> bool:
    match own:
        case {"file": str(), "row": int(row), **rest}:
            return 0 < row < 1 << 31 and (
                not rest or (rest.keys() == {"licence"} and isinstance(rest["licence"], str))
            )
    return False


def _nothing_used(source: Source, account: SourceAccount) -> str:
    if not account.rows_in:
        unread = "; ".join(file.examples[file.unread] for file in account.unread[:3])
        return unread or f"{source.path}: holds no row; write rows into it, or leave it out"
    top = [reason for reason, _ in account.reasons.most_common(3)]
    found = "; ".join(
        f"{account.reasons[reason]} {reason}, such as {account.examples[reason]}" for reason in top
    )
    cure = CURES.get(top[0], "quarantine.jsonl holds every row with its reason")
    return f"{source.path}: none of {account.rows_in} rows can be used ({found}); {cure}"
