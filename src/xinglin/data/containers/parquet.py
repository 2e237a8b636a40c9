"""Parquet, read a batch of rows at a time."""

from collections.abc import Iterator

from xinglin.data.containers import Container, Head, Row, UnreadableFile, _arrow, _extra

TEXT = False


def opens(head: Head) -> bool:
    return head.start.startswith(b"PAR1")


def rows(container: Container) -> Iterator[Row]:
    parquet = _extra.load("pyarrow.parquet")
    with container.file.seekable() as stream:
        try:
            table = parquet.ParquetFile(stream, pre_buffer=False)
        except (ValueError, OSError) as error:
            raise UnreadableFile.broken(f"{container.place}: no Parquet that can be read", error) from error
        yield from _arrow.rows(table.iter_batches(_arrow.BATCH), container)
