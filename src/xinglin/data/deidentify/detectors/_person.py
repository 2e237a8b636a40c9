"""Which one to four Chinese characters are the name of a person."""

import re

from xinglin.data.deidentify.detectors._boundary import place_at
from xinglin.data.deidentify.detectors._lists import sections

_SAFE, _DOUBTFUL = (frozenset("".join(words)) for words in sections("surnames")[:2])
_DOUBLE = frozenset(sections("surnames")[2])
_WORDS, _GIVEN_NEVER = (frozenset(words) for words in sections("words")[:2])
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")


def surname_length(name: str) -> int:
    """1 or 2 characters; 0 where ``name`` does not open with a surname."""
    if name[:2] in _DOUBLE:
        return 2
    return int(name[:1] in _SAFE or name[:1] in _DOUBTFUL)


def is_doubtful(surname: str) -> bool:
    """Whether a surname is more often another word, or part of one."""
    return surname in _DOUBTFUL


def could_be_name(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]`` has the form of a full name: a surname, then one or two characters of a given
    name that form no common word with it."""
    name = text[start:end]
    surname = surname_length(name)
    given = name[surname:]
    if not surname or not 1 <= len(given) <= 2 or not _CHINESE.fullmatch(name):
        return False
    if any(sign in _GIVEN_NEVER for sign in given) or name in _WORDS or name[:2] in _WORDS:
        return False
    place = place_at(text, start)
    return place is None or (place.end() < end and surname == 2)
