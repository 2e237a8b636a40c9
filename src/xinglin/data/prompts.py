"""What a model is asked when it is to answer by itself, and what is known about the right answer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xinglin.data.records import Conversation, Message, Preference, Question, Record, kind_of
from xinglin.data.writing.language import contains_chinese
from xinglin.errors import DataError

EXAM = "exam"
"""Key of ``Prompt.meta`` under which an exam question has ``{"options": {letter: text}, "answer": letters}``."""
_TOOLS = "{}: a conversation with tools cannot be answered here; leave it out"

_ASK = {  # (Chinese?, several answers?, free answer?) -> what to do, after the question and its options
    (True, False, False): "请直接回答正确选项的字母。",
    (True, False, True): "请选出正确的一项，最后以“答案：字母”结尾。",
    (True, True, True): "请选出所有正确的选项，最后以“答案：字母”结尾。",
    (False, False, False): "Reply with the letter of the correct option.",
    (False, False, True): 'Choose the correct option and end with "Answer: letter".',
    (False, True, True): 'Choose all correct options and end with "Answer: letters".',
}


class Prompt(NamedTuple):
    messages: tuple[Message, ...]
    """Ends on a message that is to be answered."""
    meta: Mapping[str, Any]
    """The record's own, and for a question ``EXAM``."""


def prompt_of(record: Record) -> Prompt:
    """What to ask about a record: a conversation without its last answer, the prompt of a preference, an exam
    question with its options.

    Raises:
        DataError: a document, a conversation in which nothing is asked, or one with tools, which only its own data
            can play.
    """
    match record:
        case Preference():
            if record.uses_tools:
                raise DataError(_TOOLS.format(record.origin))
            return Prompt(record.prompt, record.meta)
        case Question():
            exam = {"options": dict(record.options), "answer": record.answer}
            asked = Message("user", exam_question(record, free=True))
            return Prompt((asked,), {**record.meta, EXAM: exam})
        case Conversation():
            return Prompt(_without_answer(record), record.meta)
    raise DataError(f"{record.origin}: a {kind_of(record)} asks nothing; name a split of prompts")


def exam_question(question: Question, *, free: bool) -> str:
    """The question, its options by letter, and what to do: answer ``free``-ly, or with the letter alone."""
    shown = "\n".join(f"{letter}. {text}" for letter, text in question.options.items())
    several = len(question.answer) > 1
    return f"{question.question}\n{shown}\n{_ASK[contains_chinese(question.question), several, free]}"


def _without_answer(conversation: Conversation) -> tuple[Message, ...]:
    messages = conversation.messages
    if conversation.tools:
        raise DataError(_TOOLS.format(conversation.origin))
    places = [place for place, message in enumerate(messages) if message.role == "assistant"]
    asked = messages[: places[-1]] if places else messages
    if not asked or asked[-1].role != "user":
        raise DataError(f"{conversation.origin}: no user message before the last answer; leave the row out")
    return asked
