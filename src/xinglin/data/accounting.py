"""Every row in is used or quarantined with a reason: the counts, and the file that keeps the rows."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

RAW_CHARACTERS = 2000


@dataclass(slots=True)
class Account:
    """What became of rows: ``rows_in == rows_used + rows_quarantined``, always."""

    rows_used: int = 0
    records: int = 0
    """Records made of the used rows; a row may hold several."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Quarantined rows by reason."""
    repairs: Counter[str] = field(default_factory=Counter)
    """What had to be changed in used rows, by name."""
    formats: Counter[str] = field(default_factory=Counter)
    """Used rows by format."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first row of each reason as ``file:row: detail``."""

    @property
    def rows_in(self) -> int:
        return self.rows_used + self.rows_quarantined

    @property
    def rows_quarantined(self) -> int:
        return self.reasons.total()

    def to_json(self) -> dict[str, Any]:
        return {
            "format": ", ".join(sorted(self.formats)),
            "rows_in": self.rows_in,
            "rows_used": self.rows_used,
            "rows_quarantined": self.rows_quarantined,
            "records": self.records,
            "reasons": dict(self.reasons.most_common()),
            "repairs": dict(self.repairs.most_common()),
        }

    def _use(self, format: str, records: int, repairs: Iterable[str]) -> None:
        self.rows_used += 1
        self.records += records
        self.formats[format] += 1
        for repair in repairs:
            self.repairs[repair] += 1

    def _reject(self, reason: str, example: str) -> None:
        self.reasons[reason] += 1
        self.examples.setdefault(reason, example)


@dataclass(slots=True)
class FileAccount(Account):
    """What became of the rows of one file."""

    path: str = ""
    """A member of an archive follows the archive's path: ``rows.zip/train.jsonl``."""
    container: str = ""
    """Which kind of file it is: a module of ``data/containers``; '' if it is of none."""
    encoding: str = ""
    """Of text, by Python's name; '' for other files."""
    unread: str = ""
    """Why nothing of the file was read, as one stable word, or ''. ``examples`` says more."""

    def leave(self, reason: str, message: str) -> None:
        """Nothing of the file can be read: it has no rows, but a reason."""
        self.unread = reason
        self.examples.setdefault(reason, message)

    def to_json(self) -> dict[str, Any]:
        """As of any account; a file that was not read has its reason among ``reasons``, with 0 rows."""
        row = {"path": self.path, "container": self.container, "encoding": self.encoding} | Account.to_json(
            self
        )
        return row | {"reasons": {self.unread: 0}} if self.unread else row


@dataclass(slots=True)
class SourceAccount(Account):
    """What became of the rows of one source, in all and file by file."""

    files: list[FileAccount] = field(default_factory=list)
    """In the order of reading."""

    def open(self, path: str) -> FileAccount:
        """The account of the next file; rows are counted there, too, from now on."""
        self.files.append(FileAccount(path=path))
        return self.files[-1]

    def use(self, *, format: str, records: int, repairs: Iterable[str] = ()) -> None:
        repairs = list(repairs)
        self._use(format, records, repairs)
        if self.files:
            self.files[-1]._use(format, records, repairs)

    def reject(self, reason: str, example: str) -> None:
        for account in (self, *self.files[-1:]):
            account._reject(reason, example)

    @property
    def unread(self) -> list[FileAccount]:
        """Files of which nothing was read."""
        return [file for file in self.files if file.unread]

    def to_json(self) -> dict[str, Any]:
        """Of the files only those of which nothing was read, with the reason."""
        unread = {file.path: file.unread for file in self.unread}
        return Account.to_json(self) | ({"unread": unread} if unread else {})


class Quarantine:
    """The side file of rows that could not be used, one JSON object per row; a context manager.

    Args:
        redact: what text of a row goes through before it is kept or shown, so that it holds no personal data.
    """

    def __init__(self, path: Path, *, redact: Callable[[str], str] | None = None):
        self.redact = redact or (lambda text: text)
        # A stage that was killed reads everything again: what it wrote then must not be counted twice.
        self._file = path.open("w", encoding="utf-8")

    def add(self, *, file: str, row: int, reason: str, detail: str, raw: Any) -> None:
        """``raw`` is the text of the row, or its value; what is kept of it ends after 2,000 characters."""
        try:
            raw = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
        except RecursionError:  # lists in lists without end, which ``detail`` says
            raw = ""
        # Redacted before it is cut: half a number is not recognised.
        shown = self.redact(raw[: 2 * RAW_CHARACTERS])[:RAW_CHARACTERS]
        kept = {"detail": self.redact(detail), "raw": shown}
        line = {"file": file, "row": row, "reason": reason, **kept}
        text = json.dumps(line, ensure_ascii=False)
        # Bytes that were no text are lone surrogates by now: JSON escapes carry them, UTF-8 does not.
        self._file.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
