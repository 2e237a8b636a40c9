"""Symbols: texts that are mostly digits and signs, as tables without words and broken extracts."""

import re
from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import learned
from xinglin.data.records import Kind, Record
from xinglin.data.writing.characters import census

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True
_DRAWN = re.compile(r"```|^[ \t]*+\|.*\|[ \t]*$", re.MULTILINE)
"""Code and tables, which consist of signs."""
_SORTS = ("symbols", "digits", "punctuation")
Share = Annotated[float, Field(gt=0, le=1)]


class Settings(Config):
    """Shares of what can be seen. Lab values and doses are full of digits, so the limits are wide."""

    symbols: Share = 0.4
    """Share of signs that are neither letters nor digits nor punctuation, at most."""
    digits: Share = 0.6
    """Share of digits, at most."""
    punctuation: Share = 0.6
    """Share of punctuation, at most."""
    characters: Positive = 50
    """Texts of fewer characters are not judged."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in learned(record):
        if len(text) < settings.characters:
            continue
        counts = census(text)
        over = [name for name in _SORTS if getattr(counts, name) > getattr(settings, name) * counts.visible]
        if over and not _DRAWN.search(text):
            return f"{getattr(counts, over[0]) / counts.visible:.0%} are {over[0]}"
    return None
