"""JSON Lines: one JSON value per line."""

import json
from collections.abc import Iterator

from xinglin.data.containers import Container, Head, Row, Unreadable, _json

TEXT = True


def opens(head: Head) -> bool:
    return _json.shape(head) == "lines"


def rows(container: Container) -> Iterator[Row | Unreadable]:
    with container.text() as stream:
        for number, line in enumerate(stream, start=1):
            if line.isspace():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Unreadable(number, "not_json", str(error), line.rstrip("\n"))
            else:
                yield Row(number, value)
