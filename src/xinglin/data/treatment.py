"""What is done to each record for itself: cleaned, then looked through for personal data, on one core or several."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import NamedTuple

from xinglin.data.cleaning import Clean, Cleaning
from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.records import Document, Origin, Record
from xinglin.data.removal import Removal

CHUNK = 256
"""Records that a process gets at a time."""
WORTH_PROCESSES = 32 * CHUNK
"""Records from which on other processes are started: fewer are done before these are there."""


class Rules(NamedTuple):
    """What the treatment follows from; sent to other processes."""

    clean: Clean | None
    deidentify: Deidentification
    key: bytes | None
    """The secret of ``deidentify``; None unless it replaces."""


class Treated(NamedTuple):
    """A record, and what is there instead of it: a record, or why it was removed."""

    before: Record
    after: Record | Removal


class Treatment:
    """Treats records one after the other and counts what it did. What becomes of one depends on no other."""

    def __init__(self, rules: Rules):
        self.rules = rules
        self.cleaning = Cleaning(rules.clean) if rules.clean else None
        self.deidentifier = Deidentifier(rules.deidentify, key=rules.key)

    def apply(self, record: Record) -> Treated:
        after = self.cleaning.apply(record) if self.cleaning else record
        return Treated(record, after if isinstance(after, Removal) else self.deidentifier.apply(after))

    def merge(self, other: "Treatment") -> None:
        """Add what another one counted."""
        if self.cleaning and other.cleaning:
            self.cleaning.merge(other.cleaning)
        self.deidentifier.found.merge(other.deidentifier.found)

    def all(self, records: Iterable[Record], *, processes: int) -> Iterator[Treated]:
        """``records`` treated, in their order; if there are many, by so many processes."""
        records = iter(records)
        if processes > 1 and not self.rules.deidentify.model:
            first = list(islice(records, WORTH_PROCESSES))
            if len(first) == WORTH_PROCESSES:
                yield from self._in_processes(chain(first, records), processes)
                return
            records = iter(first)
        yield from map(self.apply, records)

    def _in_processes(self, records: Iterator[Record], processes: int) -> Iterator[Treated]:
        waiting: deque[tuple[list[Record], Future[tuple[list[Record | Removal], Treatment]]]] = deque()
        # A plain fork would copy locks that threads of numerical libraries hold.
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            try:
                while (chunk := list(islice(records, CHUNK))) or waiting:
                    if chunk:
                        waiting.append((chunk, pool.submit(_treat, self.rules, chunk)))
                    if not chunk or len(waiting) > 4 * processes:
                        before, future = waiting.popleft()
                        afters, counted = future.result()
                        self.merge(counted)
                        yield from map(Treated, before, afters)
            finally:
                pool.shutdown(cancel_futures=True)


def _treat(rules: Rules, chunk: list[Record]) -> tuple[list[Record | Removal], Treatment]:
    treatment = Treatment(rules)
    return [treatment.apply(record).after for record in chunk], treatment


def redactor(rules: Deidentification, key: bytes | None) -> Callable[[str], str]:
    """Makes texts fit to be shown; they are not counted with what the records hold."""
    deidentifier = Deidentifier(rules, key=key)

    def redact(text: str) -> str:
        document = deidentifier.apply(Document(text, Origin("", 0)))
        assert isinstance(document, Document)
        return document.text

    return redact
