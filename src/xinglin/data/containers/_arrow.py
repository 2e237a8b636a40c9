"""Rows of Arrow's tables as plain JSON values."""

import json
from collections.abc import Iterator
from typing import Any

from xinglin.data.containers import Container, Row, UnreadableFile

BATCH = 1024


def rows(batches: Iterator[Any], container: Container) -> Iterator[Row]:
    """The rows of record batches. Columns without a value are left out: one schema serves rows of several shapes."""
    number = 0
    try:
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield Row(number, {key: value for key, value in _plain(row).items() if value is not None})
    except (ValueError, OSError, NotImplementedError) as error:  # Arrow's errors are these and their heirs
        raise UnreadableFile(
            "broken_file", f"{container.place}: cannot be read after row {number}: {error}"
        ) from error


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(row)
    except (TypeError, ValueError):
        return json.loads(json.dumps(row, default=_as_text))
    return row


def _as_text(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
