"""Markup: texts that are still full of HTML after normalisation, where they are not about code."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.filters import contents, learned
from xinglin.data.records import Kind, Record
from xinglin.data.writing.markup import TAG, is_about_code

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True


class Settings(Config):
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of characters in tags, at most. Normalisation takes tags away, so this counts where that is off."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in learned(record):
        if "<" not in text:
            continue
        share = sum(len(tag[0]) for tag in TAG.finditer(text)) / len(text)
        if share > settings.share and not any(map(is_about_code, contents(record))):
            return f"{share:.0%} of the text are tags"
    return None
