"""Empty: records with a message of which normalisation has left nothing, as boilerplate alone."""

from xinglin.config.base import Config
from xinglin.data.filters import contents, learned
from xinglin.data.records import Conversation, Document, Kind, Preference, Question, Rating, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating", "question")
STANDARD = True


class Settings(Config):
    """Has no settings."""


def judge(record: Record, settings: Settings) -> str | None:
    if not all(text.strip() for text in learned(record)):
        return "nothing is left of what is to be learned"
    return (
        None
        if all(text.strip() for text in _others(record))
        else "nothing is left of what was asked or judged"
    )


def _others(record: Record) -> tuple[str, ...]:
    """What was asked, and the answer that is said to be worse, or rated, unless it is a call."""
    if isinstance(record, Document | Question):
        return contents(record)
    talk = record.messages if isinstance(record, Conversation) else record.prompt
    asked = tuple(message.content for message in talk if message.role == "user")
    if not isinstance(record, Rating | Preference):
        return asked
    judged = record.messages[-1] if isinstance(record, Rating) else record.answers[1]
    return asked if judged.tool_calls else (*asked, judged.content)
