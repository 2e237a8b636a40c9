"""Records without the personal data that they held."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from xinglin.data.deidentify.classifier import TokenClassifier
from xinglin.data.deidentify.config import Deidentification
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.findings import Findings
from xinglin.data.deidentify.scanning import TYPES, foreseen, found_by_rules, inventor, narrowed
from xinglin.data.deidentify.spans import Span, resolve
from xinglin.data.records import Conversation, Message, Preference, Record, texts, with_texts
from xinglin.data.writing.language import chinese_share, contains_chinese
from xinglin.errors import DataError
from xinglin.runtime.secret import project_secret

_RANK_OF_PATTERNS, _RANK_OF_MODEL = 1, 4
_CHINESE_TEXT = 0.3
"""Share of Chinese from which placeholders are Chinese."""


def project_key(config: Deidentification) -> bytes:
    """The secret of ``config``: from its variable, or its file, which is made if need be."""
    return project_secret(config.key_variable, Path(config.key_file).expanduser())


class Deidentifier:
    """Finds and replaces personal data in records. Picklable; the model of the config is loaded on first use.

    Args:
        key: the secret that surrogates and shifts of dates follow from; see ``project_key``. Only mode ``replace``
            needs it.

    Attributes:
        found: what was found so far; ``Findings.merge`` adds those of several processes.

    Raises:
        DataError: mode ``replace`` without a key.
    """

    def __init__(self, config: Deidentification, *, key: bytes | None = None):
        if config.mode == "replace" and not key:
            raise DataError("deidentify: mode replace needs a key; pass key=project_key(config)")
        self.config = config
        self.found = Findings(config.examples)
        self._key = key or b""
        self._types = config.wanted()
        self._patterns = [(pattern.type, re.compile(pattern.regex)) for pattern in config.patterns]
        self._model = TokenClassifier(config.model) if config.model else None

    @property
    def counts(self) -> Counter[str]:
        """Spans found so far, by type."""
        return self.found.counts

    def scan(self, text: str, *, asked: int | None = None) -> list[Span]:
        """Personal data in ``text``: spans in order that do not overlap. ``asked``: as of ``found_by_rules``."""
        found = found_by_rules(text, types=self._types, asked=asked)
        for type, pattern in self._patterns:
            group = "value" if "value" in pattern.groupindex else 0
            spans = (Span(type, *match.span(group)) for match in pattern.finditer(text))
            found += [(span, _RANK_OF_PATTERNS) for span in spans if span.end > span.start >= 0]
        if self._model:
            found += [(span, _RANK_OF_MODEL) for span in self._model.find(text) if span.type in self._types]
        return resolve(found) if found else []

    def apply(self, record: Record) -> Record:
        """``record`` as the mode has it: replaced, or as it is; what it holds is counted in ``found``.

        All texts, the arguments of tool calls and ``meta`` are read; loss flags and names of tools stay.
        """
        return self.apply_all([record])[0]

    def apply_all(self, records: Sequence[Record]) -> list[Record]:
        """What ``apply`` makes of each; many at once take less time."""
        if self.config.mode == "off":
            return list(records)
        read = [[*texts(record), *_named(record.meta)] for record in records]
        asked = foreseen(chain.from_iterable(read))
        return [
            self._applied(record, asked) if self._worth_reading(record, strings, asked) else record
            for record, strings in zip(records, read, strict=True)
        ]

    def _worth_reading(self, record: Record, strings: list[str], asked: Mapping[str, int]) -> bool:
        beside_rules = self._patterns or self._model or self.config.patient_field in record.meta
        return bool(beside_rules) or any(asked.get(text, True) for text in strings) or _calls(record)

    def _applied(self, record: Record, asked: Mapping[str, int]) -> Record:
        work = _Work(self, record, asked)
        changed = work.done()
        self.found.records += work.hit
        return changed if self.config.mode == "replace" else record

    def days(self, record: Record) -> int:
        """By how many days dates of ``record`` move."""
        limit = self.config.max_shift_days
        group = f"{record.origin.file}\0{record.origin.row}"
        for name in (self.config.dialogue_field, self.config.patient_field):
            if name in record.meta:
                group = f"{name}\0{record.meta[name]}"
        shift = 1 + Dice(self._key, "shift", group).number(2 * limit)
        return shift if shift <= limit else limit - shift

    def replacement(self, span: Span, value: str, *, chinese: bool, days: int) -> str:
        """What stands where ``value`` stood; ``chinese``: the language of the text around it."""
        detector = inventor(span.type, value)
        if self.config.style == "placeholder" and not getattr(detector, "IN_PLACE", False):
            return placeholder(span.type, chinese=chinese)
        dice = Dice(self._key, span.type, re.sub(r"[\s-]", "", value), days=days)
        return detector.surrogate(value, span.type, dice) if detector else dice.scrambled(value)


def placeholder(type: str, *, chinese: bool) -> str:
    """``<患者姓名>`` or ``[PATIENT_NAME]``; of a type that only the user knows, its name."""
    labels = TYPES.get(type, (type, type.upper()))
    return f"<{labels[0]}>" if chinese else f"[{labels[1]}]"


@dataclass
class _Work:
    """One record on its way through."""

    deidentifier: Deidentifier
    record: Record
    asked: Mapping[str, int]
    """What is foreseen of its texts."""
    texts_seen: int = 0
    hit: bool = False

    @cached_property
    def days(self) -> int:
        return self.deidentifier.days(self.record)

    @cached_property
    def chinese(self) -> bool:
        """The language of a text that has none, such as one of numbers only."""
        shares = [share for text in texts(self.record) if (share := chinese_share(text)) is not None]
        return bool(shares) and max(shares) >= _CHINESE_TEXT

    def done(self) -> Record:
        record = with_texts(self.record, self.text)
        if isinstance(record, Conversation):
            record = replace(record, messages=self.calls(record.messages))
        elif isinstance(record, Preference):
            record = record.changed(self.calls(record.prompt), *self.calls(record.answers))
        return replace(record, meta=self.meta(record.meta))

    def calls(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Arguments once more, field by field: ``{"name": "…", "phone": 139…}`` says what a text alone does not."""
        return tuple(
            replace(
                message,
                tool_calls=tuple(
                    replace(call, arguments=self.value(dict(call.arguments))) for call in message.tool_calls
                ),
            )
            if message.tool_calls
            else message
            for message in messages
        )

    def meta(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        fields = self.value(dict(meta))
        name = self.deidentifier.config.patient_field
        if name in meta:
            fields[name] = Dice(self.deidentifier._key, "patient", str(meta[name])).digits(12)
        return fields

    def value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {key: self.value(part, str(key)) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(part, name) for part in value]
        if isinstance(value, str):
            return self.text(value, name)
        if isinstance(value, int) and not isinstance(value, bool):
            changed = self.text(str(value), name)
            return value if changed == str(value) else changed
        return value

    def text(self, text: str, name: str = "") -> str:
        """``text``, of the field ``name``, with everything replaced."""
        front = _front(name)
        shift, whole = len(front), front + text
        spans = [
            Span(span.type, span.start - shift, span.end - shift)
            for span in self.deidentifier.scan(whole, asked=self.asked.get(whole))
            if span.start >= shift
        ]
        self.texts_seen += 1
        if not spans:
            return text
        self.hit = True
        origin = self.record.origin
        self.deidentifier.found.add(text, spans, place=f"{origin}:{self.texts_seen}")
        return self._replaced(text, spans) if self.deidentifier.config.mode == "replace" else text

    def _replaced(self, text: str, spans: list[Span]) -> str:
        share = chinese_share(text)
        chinese = self.chinese or contains_chinese(text) if share is None else share >= _CHINESE_TEXT
        pieces, at = [], 0
        for span in spans:
            value = narrowed(text[span.start : span.end])
            new = self.deidentifier.replacement(span, value, chinese=chinese, days=self.days)
            pieces += [text[at : span.start], new]
            at = span.end
        return "".join([*pieces, text[at:]])


def _calls(record: Record) -> bool:
    """Whether it calls tools: their arguments are read field by field."""
    messages: tuple[Message, ...] = ()
    if isinstance(record, Conversation):
        messages = record.messages
    elif isinstance(record, Preference):
        messages = (*record.prompt, *record.answers)
    return any(message.tool_calls for message in messages)


def _named(value: Any, name: str = "") -> Iterator[str]:
    """Texts and numbers in ``value`` behind the names of their fields."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _named(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _named(part, name)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield f"{_front(name)}{value}"


def _front(name: str) -> str:
    return f"{name}: " if name else ""
