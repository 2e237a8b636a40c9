"""From a path in a recipe to records: find the files, read their rows, let a format parse each row."""

import difflib
import glob
import hashlib
import importlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.data import containers
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.containers import Row, Unreadable
from xinglin.data.formats import Reject, Repair
from xinglin.data.records import Kind, Origin, Record
from xinglin.errors import DataError, PluginError

FORMATS = "xinglin.data.formats"
SAMPLE = "sample:"
SAMPLES = "xinglin.data.samples"
CURES = {
    "unknown_format": "name the format with `format:` (see `xinglin list`), or convert the rows to messages",
    "wrong_format": "leave `format:` out to detect it per row, or name the right one",
    "wrong_record_kind": "move the source to a split of the kind its rows make",
    "ambiguous_answer": "set `options: {first_option: 0}` or 1",
    "not_json": "repair the file; each line must be one JSON value",
    "needs_processed_json": "name the JSON files, or use `options: {variant: clean}`",
}


class Source(Config):
    path: Annotated[str, Field(min_length=1)]
    """A file, a folder (all files in it), a glob, or ``sample:NAME`` for data that comes with xinglin."""
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
            plugins.load(FORMATS, self.format).Options(**self.options)
        except PluginError as error:
            raise ValueError(str(error)) from error
        except ValidationError as error:
            known = ", ".join(plugins.load(FORMATS, self.format).Options.model_fields) or "none"
            wrong = "; ".join(f"options.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{wrong}; options of {self.format}: {known}") from error
        return self


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    module: ModuleType
    options: Config


def files(source: Source) -> list[Path]:
    """The files of ``source``, sorted. A sample's files are those of its generator.

    Raises:
        DataError: nothing is there; names the nearest thing that is.
    """
    if source.path.startswith(SAMPLE):
        module = importlib.import_module(SAMPLES)
        return sorted(p for p in Path(str(module.__file__)).parent.rglob("*") if p.suffix in (".py", ".yaml"))
    path = Path(source.path).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path))]
    else:
        # Path.glob cannot start from an absolute pattern.
        found = [p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file()]  # noqa: PTH207
    if not found:
        raise DataError(_nothing_at(path))
    return sorted(found)


def content_hash(source: Source) -> str:
    """SHA-256 over the bytes of all files of ``source`` in order, as 64 hex digits."""
    total = hashlib.sha256()
    for path in files(source):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def read(
    source: Source, *, kind: Kind | None, account: SourceAccount, quarantine: Quarantine
) -> Iterator[Record]:
    """The records of ``source`` in order. Every row is counted in ``account`` (a fresh one per source) once,
    as used or as quarantined; the latter are written to ``quarantine``.

    Args:
        kind: the only kind of record to take; rows that make another are quarantined. None: the kind of the
            first row that can be used.

    Raises:
        DataError: a file that cannot be read, or no row that can be used.
    """
    named = _load(source.format, source.options) if source.format else None
    if named and kind not in (None, named.module.RECORD):
        raise DataError(
            f"{source.path}: format '{named.name}' makes {named.module.RECORD} records, not {kind}"
        )
    formats = [named] if named else _detectable()
    for row, file in itertools.islice(_rows(source, formats), source.max_rows):
        origin = Origin(file, row.number, source.licence)
        try:
            format, made = _parse(row, formats, kind, origin)
        except Reject as reject:
            raw = row.raw if isinstance(row, Unreadable) else row.value
            account.reject(reject.reason, f"{origin}: {reject.detail}")
            quarantine.add(file=file, row=row.number, reason=reject.reason, detail=reject.detail, raw=raw)
            continue
        kind = kind or format.module.RECORD
        repairs = [item.name for item in made if isinstance(item, Repair)]
        account.use(format=format.name, records=len(made) - len(repairs), repairs=repairs)
        yield from (item for item in made if not isinstance(item, Repair))
    if not account.rows_used:
        raise DataError(_nothing_used(source, account))


def _load(name: str, options: dict[str, Any]) -> _Format:
    module = plugins.load(FORMATS, name)
    return _Format(name, module, module.Options(**options))


def _detectable() -> list[_Format]:
    """All formats with their default options; ``text`` is asked last, for it takes every bare string."""
    return sorted(
        (_load(name, {}) for name in plugins.names(FORMATS)), key=lambda format: format.name == "text"
    )


def _rows(source: Source, formats: list[_Format]) -> Iterator[tuple[Row | Unreadable, str]]:
    if source.path.startswith(SAMPLE):
        samples = importlib.import_module(SAMPLES)
        for number, value in enumerate(samples.rows(source.path.removeprefix(SAMPLE)), start=1):
            yield Row(number, value), source.path
        return
    for path in files(source):
        container = containers.inspect(path)
        rows = _cut(container, formats) if container.shape == "text" else container.rows()
        yield from ((row, str(path)) for row in rows)


def _cut(container: containers.Container, formats: list[_Format]) -> Iterator[Row]:
    """The rows of a plain text file, as the format that knows its beginning cuts them."""
    cutting = [format for format in formats if format.module.UNIT == "file"]
    with container.open() as lines:
        head = lines.read(4096)
        format = next((format for format in cutting if format.module.matches(head)), None)
        if format is None:
            wanted = formats[0].name
            raise DataError(
                f"{container.path}: a plain text file without rows of '{wanted}'; "
                "name a JSON or CSV file, or another format"
            )
        lines.seek(0)
        yield from (Row(number, text) for number, text in format.module.cut(lines, format.options))


def _parse(
    row: Row | Unreadable, formats: list[_Format], kind: Kind | None, origin: Origin
) -> tuple[_Format, list[Record | Repair]]:
    if isinstance(row, Unreadable):
        raise Reject(row.reason, row.detail)
    value = row.value
    if containers.damaged(value):
        raise Reject("bad_encoding", "holds bytes that are not text, or half a character")
    format = next((format for format in formats if format.module.matches(value)), None)
    if format is None:
        raise _unmatched(value, formats)
    if kind not in (None, format.module.RECORD):
        raise Reject("wrong_record_kind", f"'{format.name}' makes {format.module.RECORD}, not {kind}")
    value, origin = _own_origin(value, origin)
    made = list(format.module.parse(value, format.options, origin))
    if all(isinstance(item, Repair) for item in made):
        raise Reject("empty", f"'{format.name}' makes no record of it")
    return format, made


def _unmatched(value: Any, formats: list[_Format]) -> Reject:
    shape = f"keys {_few(value)}" if isinstance(value, dict) else type(value).__name__
    if len(formats) > 1:
        return Reject("unknown_format", shape)
    other = next((format.name for format in _detectable() if format.module.matches(value)), None)
    return Reject(
        "wrong_format", f"no row of '{formats[0].name}': {shape}" + (f"; is '{other}'" if other else "")
    )


def _own_origin(value: Any, origin: Origin) -> tuple[Any, Origin]:
    """A row that xinglin wrote knows where it first came from; that is kept."""
    own = value.get("origin") if isinstance(value, dict) else None
    if not isinstance(own, dict) or not {"file", "row"} <= own.keys() <= {"file", "row", "licence"}:
        return value, origin
    value = {key: part for key, part in value.items() if key != "origin"}
    return value, Origin(own["file"], own["row"], own.get("licence") or origin.licence)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _nothing_at(path: Path) -> str:
    if path.is_dir():
        return f"{path}: the folder holds no file"
    parent = next(parent for parent in path.parents if parent.is_dir())
    there = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    near = difflib.get_close_matches(path.relative_to(parent).parts[0], there, n=1)
    cure = f"did you mean '{parent / near[0]}'?" if near else f"'{parent}' holds {_few(there)}"
    return f"{path}: no such file, folder or match; {cure}"


def _few(names: Iterable[Any]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "") or "nothing"


def _nothing_used(source: Source, account: SourceAccount) -> str:
    if not account.rows_in:
        return f"{source.path}: holds no row; write rows into it, or leave it out"
    top = [reason for reason, _ in account.reasons.most_common(3)]
    found = "; ".join(
        f"{account.reasons[reason]} {reason}, such as {account.examples[reason]}" for reason in top
    )
    cure = CURES.get(top[0], "quarantine.jsonl holds every row with its reason")
    return f"{source.path}: none of {account.rows_in} rows can be used ({found}); {cure}"
