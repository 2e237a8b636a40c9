"""Too short: documents of a few characters and answers without any, which teach nothing."""

from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.filters import learned
from xinglin.data.records import Document, Kind, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True


class Settings(Config):
    answers: Annotated[int, Field(ge=0)] = 1
    """Letters and digits that all answers of a record have together, at least. The answer to an exam is one letter; 5
    is a good value for consultations."""
    document: Annotated[int, Field(ge=0)] = 10
    """Letters and digits that a document has, at least."""


def judge(record: Record, settings: Settings) -> str | None:
    least = settings.document if isinstance(record, Document) else settings.answers
    found, judged = 0, learned(record)
    for text in judged:
        # Texts are mostly long enough at once, and then nothing has to be counted.
        found += sum(map(str.isalnum, text[: 4 * least + 16])) if len(text) <= 4 * least + 16 else least
        if found >= least:
            return None
    # Calls, and answers that are said to be bad, are not judged.
    return f"{found} letters and digits, at least {least} are wanted" if judged else None
