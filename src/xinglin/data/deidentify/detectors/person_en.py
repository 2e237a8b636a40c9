"""Names of people in English texts: behind a title or key word, before a degree, where they introduce themselves."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"doctor_name": ("医生姓名", "DOCTOR_NAME"), "patient_name": ("患者姓名", "PATIENT_NAME")}
RANK = 3
CHINESE = False
HINTS = (
    re.compile(
        r"[DdMPNSngc](?:(?<=[DdMPNS])(?:[Rr]s?|rs|s|iss|ister|adam|rof|rofessor|urse|octor|urgeon)\.?\s?[A-Z]|"
        r"(?<=[nN])(?:ame|AME)(?:\"?[ ]?:|[ ]is|['’]s|d)|(?<=eg)ards|(?<=inc)erely)"
    ),
    re.compile(
        r"[ :](?:(?:(?<=[a-zPE]:)|(?<=[a-zPE]\":))[ ]?\"?(?:Dr\.?[ ])?[A-Z][a-z]|(?:(?<=[a-z] )|(?<=[a-z], ))"
        r"(?:M\.?D|D\.?O|R\.?N|N\.?P|Ph\.?D|MBBS|FRCP|FACS|PA-C)|(?<=ours )truly|"
        r"(?:(?<=called )|(?<=I am )|(?<=I['’]m )|(?<=[Tt]his is )|(?<=[Pp]atient ))[A-Z])"
    ),
)

_WORD = r"(?:(?:Mc|Mac|O['’]|D['’])?[A-Z][a-zà-ÿ]+(?:[-'’][A-Z][a-zà-ÿ]+)?)"
_MORE = rf"(?:[ ](?:{_WORD}|[A-Z](?:\.|(?![A-Za-z]))|van|von|de|da|bin|al)){{0,3}}"
_NAME = rf"(?P<name>{_WORD}{_MORE})"
_FULL = rf"(?P<name>{_WORD}(?:[ ][A-Z]\.?)?[ ](?:(?:van|von|de|da)[ ])?{_WORD})"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        (
            rf"(?<![A-Za-z])(?P<doctor>(?:D[Rr]|dr|Drs|Prof|Professor|Nurse|Surgeon|Doctor)(?:\.\s?|"
            rf"\s))(?:(?:Prof|Dr)\.?\s)?{_NAME}"
        ),
        rf"(?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Mister|Madam)(?:\.\s?|\s)(?:and\sMrs?\.?\s)?{_NAME}",
        (
            rf"(?<![A-Za-z])(?:[Pp]atient|[Ff]ull|[Ff]irst|[Ll]ast|[Cc]ontact|[Gg]uardian|[Nn]ext of kin|"
            rf"[Mm]other|[Ff]ather)?(?:(?:['’]s)?[ _]?[Nn]ame|NAME)\"?[ ]?:[ ]?\"?{_NAME}"
        ),
        (
            rf"(?<![A-Za-z])(?:[Pp]atient|[Ee]mergency contact|[Nn]ext of kin|[Gg]uardian|[Ss]ubscriber|"
            rf"[Ii]nsured):[ ]?{_FULL}"
        ),
        (
            rf"(?<![A-Za-z])(?P<doctor>[Pp]hysician|[Dd]octor|[Ss]urgeon|[Aa]ttending|PCP|[Pp]rovider|"
            rf"[Rr]adiologist|[Ss]igned(?:[ ]by)?|[Rr]eviewed by|[Dd]ictated by|[Rr]eported by|"
            rf"[Nn]urse)(?:['’]s [Nn]ame|[ ][Nn]ame)?\"?[ ]?:[ ]?\"?(?:Dr\.?[ ])?{_NAME}"
        ),
        (
            rf"(?:[Mm]y|[Hh]is|[Hh]er|[Tt]heir|[Tt]he (?:patient|child|baby|nurse|"
            rf"doctor))(?:['’]s)?[ ](?:full[ ])?name(?:[ ]is|['’]s)[ ]{_NAME}"
        ),
        (
            rf"(?:son|daughter|wife|husband|mother|father|brother|sister|friend|doctor|nurse|patient|man|"
            rf"woman|boy|girl|child|baby|[Hh]e is|[Ss]he is|I am|I['’]m)[ ](?:is[ ])?(?:named|"
            rf"called)[ ]{_NAME}(?=[,.;!?\s]|$)"
        ),
        rf"(?<![A-Za-z])(?:I am|I['’]m|[Tt]his is)[ ]{_FULL}(?=[,.;!\n]| and | from |$)",
        (
            rf"(?<![A-Za-z])(?P<doctor>){_FULL},?[ ](?:M\.?D\.?|D\.?O\.?|R\.?N\.?|N\.?P\.?|Ph\.?D\.?|MBBS|"
            rf"FRCP|FACS|PA-C)(?![A-Za-z])"
        ),
        (
            rf"(?<![A-Za-z])[Pp]atient[ ]{_FULL}(?=[,;(]| (?:is|was|has|had|presents|presented|came|reports|"
            rf"called|complains|aged?|with|denies)(?![A-Za-z]))"
        ),
        rf"(?:[Rr]egards|[Ss]incerely|[Yy]ours truly),?\s{{1,3}}(?:Dr\.?[ ])?{_FULL}",
    )
)
_NO_NAME, _NO_PERSON = (frozenset(words) for words in sections("english_words")[:2])
_DOCTOR_ALONE = frozenset(("Doctor", "Nurse", "Surgeon"))


def find(text: str) -> Iterator[Span]:
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("name")
            words = match["name"].split(" ")
            while words and words[-1] in _NO_NAME:
                end -= len(words.pop()) + 1
            if words and words[0] not in _NO_NAME and not _NO_PERSON.intersection(words):
                doctor = "doctor" in pattern.groupindex and match["doctor"] is not None
                yield Span("doctor_name" if doctor else "patient_name", start, end)


_FIRST, _LAST = sections("fakes")[2:4]


def surrogate(value: str, type: str, dice: Dice) -> str:
    """As many names; one surname has one fake, so that Dr. Smith stays the John Smith of the line above."""
    *first, last = value.split(" ")
    given = dice.about("given", value)
    kept = [word if len(word.rstrip(".")) == 1 else given.pick(_FIRST) for word in first]
    return " ".join([*kept, dice.about("surname", last).pick([name for name in _LAST if name != last])])
