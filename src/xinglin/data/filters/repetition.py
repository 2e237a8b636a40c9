"""Repetition: answers and documents that say the same again and again."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import learned
from xinglin.data.records import Kind, Record
from xinglin.data.writing.repetition import repeated_lines, repeated_share

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True
Share = Annotated[float, Field(gt=0, le=1)]
_QUICK = 2000
"""Characters up to which a quick look is worth its time, which grows with the square of them."""
_WORD_CHARACTERS = 4


class Settings(Config):
    """After Gopher (arXiv 2112.11446), with limits for Chinese, where names of diseases come again and again."""

    ngram: Positive = 10
    """Chinese characters or words in a row that count as repeated when they come again."""
    repeated: Share = 0.35
    """Share of repeated n-grams from which a text is removed."""
    lines: Share = 0.3
    """Share of characters in lines that stood there before from which a text is removed."""
    characters: Positive = 50
    """Shorter texts are not judged."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in learned(record):
        if len(text) < settings.characters:
            continue
        share = repeated_share(text, ngram=settings.ngram) if _may_repeat(text, settings) else 0.0
        if share >= settings.repeated:
            return f"{share:.0%} of the {settings.ngram}-grams come again"
        share = repeated_lines(text)
        if share >= settings.lines:
            return f"{share:.0%} of the text are repeated lines"
    return None


def _may_repeat(text: str, settings: Settings) -> bool:
    """A quick look at pieces shorter than an n-gram: whether about as many as it takes come again later on."""
    if len(text) > _QUICK:
        return True
    size = settings.ngram * _WORD_CHARACTERS if text.isascii() else settings.ngram
    starts = range(0, len(text) - size, size)
    again = sum(text.find(text[start : start + size // 2], start + 1) >= 0 for start in starts)
    return again >= settings.repeated / 3 * len(starts)
