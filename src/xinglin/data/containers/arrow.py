"""Arrow: files (Feather) and streams, as Hugging Face datasets keeps them."""

from collections.abc import Iterator
from typing import Any

from xinglin.data.containers import Container, Head, Row, UnreadableFile, _arrow, _extra

TEXT = False
FILE = b"ARROW1"
STREAM = b"\xff\xff\xff\xff"


def opens(head: Head) -> bool:
    return head.start.startswith((FILE, STREAM))


def rows(container: Container) -> Iterator[Row]:
    ipc = _extra.load("pyarrow.ipc")
    with container.file.seekable() as stream:
        is_file = stream.read(len(FILE)) == FILE
        stream.seek(0)
        try:
            table = ipc.open_file(stream) if is_file else ipc.open_stream(stream)
        except (ValueError, OSError) as error:
            raise UnreadableFile.broken(f"{container.place}: no Arrow that can be read", error) from error
        yield from _arrow.rows(_batches(table) if is_file else iter(table), container)


def _batches(table: Any) -> Iterator[Any]:
    for number in range(table.num_record_batches):
        yield table.get_batch(number)
