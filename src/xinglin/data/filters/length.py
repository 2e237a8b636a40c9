"""Length: records with a message of more characters than anyone writes."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.records import Conversation, Document, Kind, Preference, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True
Characters = Annotated[int, Field(gt=0)]


class Settings(Config):
    user: Characters = 20_000
    """Characters of a user message, at most: long reports fit, pasted logs do not."""
    assistant: Characters = 20_000
    """Characters of an answer, at most."""
    system: Characters = 20_000
    """Characters of a system message, at most."""
    document: Characters | None = None
    """Characters of a document, at most. None: a document may be a book."""


def judge(record: Record, settings: Settings) -> str | None:
    for role, text in _texts(record):
        most = getattr(settings, role)
        if most is not None and len(text) > most:
            return f"{role}: {len(text):,} characters, at most {most:,} are wanted"
    return None


def _texts(record: Record) -> list[tuple[str, str]]:
    if isinstance(record, Document):
        return [("document", record.text)]
    if isinstance(record, Preference):
        spoken = [(message.role, message.content) for message in record.prompt if message.role != "tool"]
        return [*spoken, ("assistant", record.chosen), ("assistant", record.rejected)]
    assert isinstance(record, Conversation)
    return [(message.role, message.content) for message in record.messages if message.role != "tool"]
