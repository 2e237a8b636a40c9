"""De-identification: where personal data stand in Chinese and English records, and records without them.

    scan(text) -> list[Span]                    by the rules in ``detectors/``, one file per family
    Deidentifier(config, key=…).apply(record)   replaces, and counts without keeping what it found

Rules look at form (check digits, reserved prefixes), at key words (住院号, MRN) and at words (titles, place names).
Names without any of these in front or behind are not found; ``model:`` adds a token classifier for them. An original
never reaches a log, a report or an error: findings hold types, lengths and counts.
"""

from xinglin.data.deidentify.config import Deidentification
from xinglin.data.deidentify.deidentifier import Deidentifier, project_key
from xinglin.data.deidentify.findings import Findings
from xinglin.data.deidentify.scanning import TYPES, scan
from xinglin.data.deidentify.spans import Span

__all__ = ["TYPES", "Deidentification", "Deidentifier", "Findings", "Span", "project_key", "scan"]
