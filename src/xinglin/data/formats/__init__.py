"""One file per data format: how a row of that format becomes records.

A format is a module with

    a docstring       its first line says what the format is; an example row follows
    RECORD: Kind      the one kind of record that it makes; None where ``record(options)`` says which. Such a format is
                      never detected, for it needs options
    UNIT              "row": reads rows of JSON Lines, JSON arrays and tables;
                      "file": reads those, and also cuts plain text files into rows itself
    Options(Config)   the keys that ``options:`` of a source may hold
    matches(row)      whether this is one of its rows; for plain text, the head of the file as a ``str``.
                      Only one format may claim a row, except that ``text`` is asked last
    parse(row, options, origin)
                      yields the records of one row, and a ``Repair`` for each thing it had to change;
                      raises ``Reject`` for a row that cannot be used
    cut(lines, options)
                      UNIT "file" only: yields ``(line number, row)`` of each row of a plain text file

A row is used whole or not at all: if ``parse`` raises after it yielded, nothing of the row is used.
"""

from dataclasses import dataclass

Row = dict | list | str
"""What a container holds: an object, an array, or bare text."""


class Reject(Exception):
    """A row that cannot be used. Becomes a line of the quarantine and a count, never a traceback.

    ``reason`` is one stable snake_case word to count by; ``detail`` says what about this row.
    """

    def __init__(self, reason: str, detail: str = ""):
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that a format changed so that a row can be used; counted under ``name``."""

    name: str
