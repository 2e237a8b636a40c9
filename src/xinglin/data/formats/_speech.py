"""Speakers named inside a text: ``病人：…``, ``[doctor] …``, ``<user>: …``, at the start of a line or as tags."""

import re
from typing import NamedTuple

from xinglin.data.records import Message, Role

_USER = "问题|提问|问|病人|患者|用户|咨询者|question|patient|human|user|guest[_ ]family|patient_guest"
_ASSISTANT = "回答|解答|答案|答|医生|大夫|医师|助手|answer|doctor|assistant|bot"
_NAMES = f"(?:(?P<user>{_USER})|(?P<assistant>{_ASSISTANT}))"
_LINE = re.compile(rf"(?:\A\s*+|(?:\n|\\n)[^\S\n]*+)(?:\[Round \d+\]\s*+)?{_NAMES}\s*[：:]\s*", re.IGNORECASE)
_TAG = re.compile(rf"(?:<{_NAMES}>|\[{_NAMES.replace('?P<', '?P<tag_')}\])\s*[：:]?\s*", re.IGNORECASE)
_START = re.compile(r"\s*(?:<s>\s*)?")
"""What may stand before the first speaker; chat markup that was baked into the data."""


class Turn(NamedTuple):
    role: Role
    text: str


def speaker(line: str) -> tuple[Role, str] | None:
    """Who speaks a line, and the line without that; None where it does not say."""
    mark = _LINE.match(line)
    return (_role(mark), line[mark.end() :]) if mark else None


def turns(text: str) -> list[Turn]:
    """What each speaker says in turn; nothing, if the text does not begin with a speaker.

    Tags may stand anywhere, names with a colon at the start of a line only.
    """
    if at := _START.match(text):
        text = text[at.end() :]
    for pattern in (_TAG, _LINE):
        if pattern.match(text):
            marks = list(pattern.finditer(text))
            ends = [mark.start() for mark in marks[1:]] + [len(text)]
            return [
                Turn(_role(mark), text[mark.end() : end].strip())
                for mark, end in zip(marks, ends, strict=True)
            ]
    return []


def unflattened(question: str) -> list[Message] | None:
    """The messages of a dialogue that was written into one question, up to the user's last; None if it is none.

    The answer's name at the end, which waits for it to follow, is taken off. Without that, and without tags, one name
    makes no dialogue (病人：男，45岁), nor do names above further lines, which may say what to do with the dialogue.
    """
    spoken = turns(question)
    if not spoken:
        return None
    if spoken[-1] == ("assistant", ""):
        spoken = spoken[:-1]
    elif not _TAG.match(question.lstrip()) and (len(spoken) < 2 or "\n" in spoken[-1].text):
        return None
    if not spoken or spoken[0].role != "user" or spoken[-1].role != "user":
        return None
    return [Message(turn.role, turn.text) for turn in spoken]


def _role(mark: re.Match[str]) -> Role:
    named = mark.groupdict()
    return "user" if named["user"] or named.get("tag_user") else "assistant"
