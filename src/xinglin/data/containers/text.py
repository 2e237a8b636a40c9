"""Plain text: txt, md and whatever else is text, cut into rows by a format."""

from collections.abc import Iterator

from xinglin.data.containers import Container, Head

TEXT = True


def opens(head: Head) -> bool:
    return bool(head.text)


def lines(container: Container) -> Iterator[str]:
    with container.text() as stream:
        yield from stream
