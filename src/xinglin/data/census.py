"""What is counted of the records of a file, chunk by chunk, on one core or several."""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xinglin.data.deidentify import Deidentification, Deidentifier
from xinglin.data.deidentify.findings import Findings
from xinglin.data.records import Conversation, Record, kind_of, texts
from xinglin.data.writing.language import chinese_share

DEPARTMENT = ("department", "科室", "label", "cate1")
"""Keys of ``meta`` that say which department a record is of."""
LONGEST = 30
"""Characters of a department's name."""
TOP = 12
REPORTED = Deidentification(examples=1)
_CHINESE, _MIXED = 0.8, 0.2


@dataclass
class Census:
    """Counts; those of several chunks add up to those of the whole."""

    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    departments: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    """Conversations by answers."""
    characters: "array[int]" = field(default_factory=lambda: array("q"))
    """Of each record."""
    personal: Findings = field(default_factory=lambda: Findings(REPORTED.examples))

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Census":
        counted = cls()
        for record in records:
            counted._add(record)
        finder = Deidentifier(REPORTED)
        finder.apply_all(records)
        counted.personal = finder.found
        return counted

    @property
    def records(self) -> int:
        return self.kinds.total()

    @property
    def benchmark(self) -> bool:
        """Whether it holds exam questions, which are for evaluation."""
        return self.kinds["question"] > self.records / 2

    def merge(self, other: "Census") -> None:
        self.kinds.update(other.kinds)
        self.languages.update(other.languages)
        self.departments.update(other.departments)
        self.turns.update(other.turns)
        self.characters.extend(other.characters)
        self.personal.merge(other.personal)

    def _add(self, record: Record) -> None:
        self.kinds[kind_of(record)] += 1
        said = texts(record)
        self.languages[_language(said)] += 1
        self.characters.append(sum(map(len, said)))
        if isinstance(record, Conversation):
            self.turns[sum(message.role == "assistant" for message in record.messages)] += 1
        named = next((record.meta[key] for key in DEPARTMENT if record.meta.get(key)), None)
        if isinstance(named, str) and len(named) <= LONGEST:
            self.departments[named] += 1

    def to_json(self, redact: Callable[[str], str]) -> dict[str, Any]:
        """``redact``: what names from the data go through before they are shown."""
        departments: Counter[str] = Counter()
        for name, count in self.departments.most_common(TOP):
            departments[redact(name)] += count
        return {
            "kinds": dict(self.kinds),
            "languages": dict(self.languages.most_common()),
            "characters": percentiles(self.characters),
            "turns": percentiles(list(self.turns.elements())),
            "departments": dict(departments.most_common()),
            "num_departments": len(self.departments),
            "personal": self.personal.to_json(),
        }


def counted(records: Sequence[Record]) -> tuple[str, Census]:
    """The records as JSON Lines, and what is counted of them."""
    lines = (json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
    return "".join(lines), Census.of(records)


def percentiles(values: Sequence[int]) -> dict[str, int]:
    """The least, the median, the 90th and 99th percentile and the greatest of ``values``; {} for none."""
    if not len(values):
        return {}
    points = np.percentile(np.asarray(values), [0, 50, 90, 99, 100], method="inverted_cdf")
    return dict(zip(("min", "p50", "p90", "p99", "max"), map(int, points), strict=True))


def _language(said: Sequence[str]) -> str:
    share = chinese_share("\n".join(said))
    if share is None:
        return "other"
    return "zh" if share >= _CHINESE else "mixed" if share >= _MIXED else "en"
