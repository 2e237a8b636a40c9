"""Empty: records with a message of which normalisation has left nothing, as boilerplate alone."""

from xinglin.config.base import Config
from xinglin.data.filters import contents, learned
from xinglin.data.records import Conversation, Kind, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "question")
STANDARD = True


class Settings(Config):
    """Has no settings."""


def judge(record: Record, settings: Settings) -> str | None:
    if not all(text.strip() for text in learned(record)):
        return "nothing is left of what is to be learned"
    asked = (
        [message.content for message in record.messages if message.role == "user"]
        if isinstance(record, Conversation)
        else contents(record)
    )
    return None if all(text.strip() for text in asked) else "nothing is left of what was asked"
