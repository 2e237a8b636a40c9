"""Language: records in a language that is not wanted, told by their script."""

from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.base import Config
from xinglin.config.parts import Fraction
from xinglin.data.filters import contents
from xinglin.data.records import Kind, Record
from xinglin.data.writing.characters import census
from xinglin.data.writing.language import chinese_share

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating", "question")
STANDARD = True
Language = Literal["zh", "en", "mixed"]
_EVERY: tuple[Language, ...] = ("zh", "en", "mixed")


class Settings(Config):
    wanted: list[Language] = Field(default=list(_EVERY), min_length=1)
    """Chinese, anything in Latin letters (counted as ``en``), both in one record. Other scripts are not wanted."""
    mixed: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    """A record is mixed if it has at least this share of Chinese characters, and of Latin words, among both."""
    other: Fraction = 0.3
    """Share of letters of other scripts (kana, Hangul, Cyrillic, …) from which a record counts as neither."""
    letters: Annotated[int, Field(ge=0)] = 20
    """Records with fewer letters are not judged."""


def judge(record: Record, settings: Settings) -> str | None:
    text = "\n".join(contents(record))
    counts = census(text)
    if counts.letters < settings.letters:
        return None
    if counts.other >= settings.other * counts.letters:
        return f"{counts.other / counts.letters:.0%} of the letters are of other scripts"
    if len(settings.wanted) == len(_EVERY):
        return None
    share = chinese_share(text)
    if share is None:
        return None
    found: Language = "zh" if share > 1 - settings.mixed else "en" if share < settings.mixed else "mixed"
    return None if found in settings.wanted else f"is {found} ({share:.0%} Chinese)"
