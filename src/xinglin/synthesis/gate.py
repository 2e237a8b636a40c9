"""The gate that every text passes on its way to an endpoint: personal data go no further."""

from collections.abc import Sequence
from typing import Any

from xinglin.data.deidentify import Deidentification, Deidentifier, project_key
from xinglin.data.deidentify.scanning import DETECTORS
from xinglin.data.records import Conversation, Message, Origin, Record

_MOVED = [type for detector in DETECTORS if getattr(detector, "IN_PLACE", False) for type in detector.LABELS]
"""Types that keep their form, so that doing it twice would change them twice."""


class Gate:
    """With mode ``replace``, records are de-identified before a task sees them, and what a task makes of them is looked
    through once more when it is sent: a name that only shows in a new context, or that a reply invents.

    Dates and ages are changed once, in the record.
    """

    def __init__(self, rules: Deidentification):
        self.rules = rules
        key = project_key(rules) if rules.mode == "replace" else None
        self._records = Deidentifier(rules, key=key)
        again = {"style": "placeholder", "keep": sorted({*rules.keep, *_MOVED}), "examples": 0}
        self._outgoing = Deidentifier(rules.model_copy(update=again), key=key) if key else None

    def record(self, record: Record) -> Record:
        return self._records.apply(record)

    def outgoing(self, messages: Sequence[Message], origin: Origin) -> tuple[Message, ...]:
        """What may be sent of ``messages``."""
        if self._outgoing is None:
            return tuple(messages)
        # One message at a time: what a text is replaced by follows from the language of its record.
        changed = (self._outgoing.apply(Conversation((message,), origin)) for message in messages)
        return tuple(record.messages[0] for record in changed if isinstance(record, Conversation))

    def to_json(self) -> dict[str, Any]:
        """What was found, without what it was."""
        later = dict(self._outgoing.found.counts.most_common()) if self._outgoing else {}
        return {"mode": self.rules.mode, **self._records.found.to_json(), "in_prompts": later}


def lets_out(rules: Deidentification) -> bool:
    """Whether what passes the gate may leave the house: placeholders stand for themselves when they are read again."""
    return rules.mode == "replace" and rules.style == "placeholder"
