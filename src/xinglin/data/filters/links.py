"""Links: answers and documents that consist of web addresses, as answers that only point somewhere."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.filters import learned
from xinglin.data.records import Kind, Record
from xinglin.data.writing.urls import URL

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True


class Settings(Config):
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of characters in web addresses, at most. Those that are a source of what is said are short beside it."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in learned(record):
        if "//" not in text and "www." not in text:
            continue
        share = sum(len(url[0]) for url in URL.finditer(text)) / len(text)
        if share > settings.share:
            return f"{share:.0%} of the text are web addresses"
    return None
