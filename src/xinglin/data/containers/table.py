"""CSV or TSV with a header; the delimiter is the commonest of comma, tab, semicolon and bar in it.

The suffix (csv, tsv, tab) says that a file is one, for commas alone do not make a table. Columns without a name are
left out.
"""

import csv
import json
from collections.abc import Iterator

from xinglin.data.containers import Container, Head, Row, Unreadable, UnreadableFile, _json

TEXT = True
SUFFIXES = (".csv", ".tsv", ".tab")
DELIMITERS = ",\t;|"


def opens(head: Head) -> bool:
    return head.suffix in SUFFIXES and _json.shape(head) is None


def rows(container: Container) -> Iterator[Row | Unreadable]:
    with container.text(newline="") as stream:
        first = next(line for line in stream if line.strip())
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(2**31 - 1)
    with container.text(newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header = _header(reader, container.place)
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error):
                    raise _broken(
                        container.place, number, "a quote opens here and never closes; close it"
                    ) from error
                yield Unreadable(number, "bad_table_row", str(error), "")
                continue
            if len(cells) == len(header):
                yield Row(number, {name: cell for name, cell in zip(header, cells, strict=True) if name})
            elif cells:
                detail = f"{len(cells)} cells under {len(header)} headings"
                yield Unreadable(number, "bad_table_row", detail, json.dumps(cells, ensure_ascii=False))


def _header(reader: Iterator[list[str]], place: str) -> list[str]:
    try:
        header = [name.strip() for name in next(cells for cells in reader if any(cells))]
    except csv.Error as error:
        raise _broken(place, 1, f"the header cannot be read: {error}; repair it") from error
    except StopIteration as error:
        raise _broken(place, 1, "no header; write the names of the columns above the rows") from error
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise _broken(place, 1, f"two columns have the same name; rename one: {', '.join(header)}")
    return header


def _broken(place: str, number: int, what: str) -> UnreadableFile:
    return UnreadableFile("broken_table", f"{place}:{number}: {what}")
