"""Where every item went: made, rejected, failed or not reached; and the file of what is not in the data set."""

import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from xinglin.data.deidentify import Deidentification
from xinglin.data.records import Record
from xinglin.data.treatment import redactor
from xinglin.synthesis.running import Result

REJECTED = "rejected.jsonl"


@dataclass
class Accounts:
    """``items == made + rejected + failed + not_reached``, always; ``records`` were made of those that are made."""

    items: int = 0
    made: int = 0
    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Items, by reason: what came back is not good enough, in any try."""
    failed: Counter[str] = field(default_factory=Counter)
    """Items, by reason: nothing came back."""
    not_reached: int = 0
    """Items that a cap left."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Records of items, made but not kept, by reason: not new, a leak."""
    examples: dict[str, str] = field(default_factory=dict)
    """One by reason, without personal data that the detectors find."""
    _redact: Callable[[str], str] = field(
        default_factory=lambda: redactor(Deidentification(mode="replace"), secrets.token_bytes(32))
    )

    def add(self, result: Result, kept: int) -> None:
        """Count an item of which so many records are kept."""
        self.items += 1
        self.records += kept
        if result.status == "made" and kept:
            self.made += 1
        elif result.status == "not_reached":
            self.not_reached += 1
        else:
            reason = result.reason or "none_kept"
            (self.failed if result.status == "failed" else self.rejected)[reason] += 1
            if reason not in self.examples:
                self.examples[reason] = f"{result.item.record.origin}: {self._redact(result.detail)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "made": self.made,
            "records": self.records,
            "rejected": dict(self.rejected.most_common()),
            "failed": dict(self.failed.most_common()),
            "not_reached": self.not_reached,
            "left_out": dict(self.left_out.most_common()),
        }


class Rejections:
    """``rejected.jsonl``: a line for every item that gave nothing but those not reached, with what was said, and for
    every record that is not kept; a context manager."""

    def __init__(self, path: Path):
        self._file = path.open("w", encoding="utf-8")

    def item(self, result: Result) -> None:
        said = {"said": list(result.said)} if result.said else {}
        what = {"status": result.status, "reason": result.reason, "detail": result.detail}
        self._write({"origin": str(result.item.record.origin), **what, **said})

    def record(self, record: Record, reason: str, detail: str) -> None:
        what = {"status": "left_out", "reason": reason, "detail": detail}
        self._write({"origin": str(record.origin), **what, "record": record.to_json()})

    def _write(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False) + "\n"
        self._file.write(line.encode("utf-8", "backslashreplace").decode("utf-8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
