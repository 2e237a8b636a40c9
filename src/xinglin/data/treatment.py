"""What is done to each record for itself: cleaned, then looked through for personal data, on one core or several."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from xinglin.data.cleaning import Clean, Cleaning
from xinglin.data.copies.duplicates import chunks
from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.records import Document, Origin, Record
from xinglin.data.removal import Removal
from xinglin.runtime.processes import in_order

CHUNK = 256
"""Records that are treated at a time, unless they are long."""


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

    def apply(self, records: Sequence[Record]) -> list[Record | Removal]:
        """What there is instead of each."""
        cleaned = list(map(self.cleaning.apply, records)) if self.cleaning else list(records)
        kept = [record for record in cleaned if not isinstance(record, Removal)]
        done = iter(self.deidentifier.apply_all(kept))
        return [each if isinstance(each, Removal) else next(done) for each in cleaned]

    def merge(self, other: "Treatment") -> None:
        """Add what another one counted."""
        if self.cleaning and other.cleaning:
            self.cleaning.merge(other.cleaning)
        self.deidentifier.found.merge(other.deidentifier.found)

    def all(self, records: Iterable[Record], *, processes: int) -> Iterator[Treated]:
        """``records`` treated, in their order; if there are many, by so many processes."""
        parts = chunks(iter(records), most=CHUNK)
        if processes == 1 or self.rules.deidentify.model:  # which is loaded once
            for before in parts:
                yield from map(Treated, before, self.apply(before))
            return
        for before, (afters, counted) in in_order(partial(_treat, self.rules), parts, processes=processes):
            self.merge(counted)
            yield from map(Treated, before, afters)


def _treat(rules: Rules, records: list[Record]) -> tuple[list[Record | Removal], Treatment]:
    treatment = Treatment(rules)
    return treatment.apply(records), treatment


def redactor(rules: Deidentification, key: bytes | None) -> Callable[[str], str]:
    """Makes texts fit to be shown; they are not counted with what the records hold."""
    deidentifier = Deidentifier(rules, key=key)

    def redact(text: str) -> str:
        document = deidentifier.apply(Document(text, Origin("", 0)))
        assert isinstance(document, Document)
        return document.text

    return redact
