"""Excel workbooks (xlsx): the rows of all sheets, each below its header; every cell as text."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from xinglin.data.containers import Container, Head, Row, UnreadableFile, _extra

TEXT = False


def opens(head: Head) -> bool:
    return "xl/workbook.xml" in head.members


def rows(container: Container) -> Iterator[Row]:
    openpyxl = _extra.load("openpyxl")
    with container.file.seekable() as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            above = 0
            for sheet in book.worksheets:
                yield from _sheet(sheet, above)
                above += sheet.max_row or 0
        except Exception as error:  # openpyxl raises whatever a damaged file makes it stumble over
            raise UnreadableFile.broken(f"{container.place}: no workbook that can be read", error) from error


def _sheet(sheet: Any, above: int) -> Iterator[Row]:
    """The rows under the first row with text; ``above`` counts the rows of the sheets before."""
    header: list[str] = []
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=above + 1):
        texts = [_text(cell) for cell in cells]
        if not any(texts):
            continue
        if header:
            named = zip_longest(header, texts, fillvalue="")
            yield Row(number, {name: text for name, text in named if name})
        else:
            header = [text.strip() for text in texts]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
