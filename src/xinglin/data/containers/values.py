"""JSON objects that run over several lines, one or more."""

from collections.abc import Iterator

from xinglin.data.containers import Container, Head, Row, _json

TEXT = True


def opens(head: Head) -> bool:
    return _json.shape(head) == "values"


def rows(container: Container) -> Iterator[Row]:
    with container.text() as stream:
        reader = _json.Reader(stream, container.place)
        while reader.next_character():
            value = reader.element()
            yield Row(reader.number, value)
