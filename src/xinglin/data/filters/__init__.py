"""Filters: which records are not fit to learn from, and why. One file each.

A filter ``NAME.py`` has

    KINDS       the kinds of records that it judges
    STANDARD    whether it is on without being asked for
    class Settings(Config)
                its thresholds, documented, with defaults calibrated on real medical data
    judge(record: Record, settings: Settings) -> str | None
                what is wrong, in a few words for a person, where the record is to be removed; None where it stays

NAME is the reason that a removed record is counted under, so it says what is wrong. A filter sees normalised texts.
It judges how something is written, never what it is about: words of andrology, gynaecology, psychiatry or oncology
are no evidence of anything. In doubt it keeps: what it removes, nobody will look at again. What it says holds no
text of the record, which may name a patient.
"""

from xinglin.data.records import Conversation, Document, Preference, Rating, Record

PACKAGE = "xinglin.data.filters"


def contents(record: Record) -> tuple[str, ...]:
    """What people wrote in it: texts without calls and descriptions of tools."""
    if isinstance(record, Conversation):
        return tuple(message.content for message in record.messages)
    if isinstance(record, Document):
        return (record.text,)
    if isinstance(record, Preference):
        return (*(message.content for message in record.prompt), record.chosen, record.rejected)
    return (record.question, *record.options.values())


def learned(record: Record) -> tuple[str, ...]:
    """What a model is to write like: documents, trained answers, the better answer. One that is said to be worse, or
    bad, may be so."""
    if _is_bad(record):
        return ()
    if isinstance(record, Conversation):
        return tuple(
            message.content
            for message in record.messages
            if message.role == "assistant" and message.train and not message.tool_calls
        )
    if isinstance(record, Document):
        return (record.text,)
    return (record.chosen,) if isinstance(record, Preference) and not record.chosen_calls else ()


def exchanges(record: Record) -> tuple[tuple[str, str], ...]:
    """Each answer that is learned, with the message that it answers."""
    if isinstance(record, Preference):
        if record.chosen_calls or record.prompt[-1].role != "user":
            return ()
        return ((record.prompt[-1].content, record.chosen),)
    if not isinstance(record, Conversation) or _is_bad(record):
        return ()
    return tuple(
        (before.content, answer.content)
        for before, answer in zip(record.messages, record.messages[1:], strict=False)
        if before.role == "user" and answer.role == "assistant" and answer.train and not answer.tool_calls
    )


def _is_bad(record: Record) -> bool:
    return isinstance(record, Rating) and not record.good
