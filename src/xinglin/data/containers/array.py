"""One JSON array, read element by element."""

from collections.abc import Iterator

from xinglin.data.containers import Container, Head, Row, _json

TEXT = True


def opens(head: Head) -> bool:
    return _json.shape(head) == "array"


def rows(container: Container) -> Iterator[Row]:
    with container.text() as stream:
        reader = _json.Reader(stream, container.place)
        reader.skip("[")
        if reader.next_character() == "]":
            return
        while True:
            value = reader.element()
            yield Row(reader.number, value)
            if reader.skip(",]") == "]":
                break
        if reader.next_character():
            raise reader.broken("text after the end of the array")
