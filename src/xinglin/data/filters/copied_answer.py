"""Copied answers: answers that are the question again."""

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import exchanges
from xinglin.data.records import Kind, Record

KINDS: tuple[Kind, ...] = ("conversation", "preference", "rating")
STANDARD = True


class Settings(Config):
    characters: Positive = 8
    """Shorter answers are not judged: who says 谢谢 may hear it."""


def judge(record: Record, settings: Settings) -> str | None:
    for asked, answer in exchanges(record):
        if len(answer) >= settings.characters and asked[:1] == answer[:1] and _bare(asked) == _bare(answer):
            return "an answer repeats the question"
    return None


def _bare(text: str) -> str:
    """Without blanks and the sign at its end."""
    return "".join(text.split()).rstrip("。．.?？!！~～…")
