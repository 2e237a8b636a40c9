"""Hospitals, clinics and street addresses in English texts."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"hospital": ("医院", "HOSPITAL"), "address": ("地址", "ADDRESS")}
RANK = 3
CHINESE = False
HINTS = (
    re.compile(
        r"Hospital|Clinic|Infirmary|Sanatorium|Surgery|Hospice|Medical [CGPI]|Health [CS]|P\.?[ ]?O\.?[ ]Box|"
        r", [A-Z]{2} \d{5}|ddress: \d"
    ),
    re.compile(r"\d(?:[A-Za-z]?,?|\w\w?) [A-Z]"),
)

_WORD = r"(?:[A-Z][\w.'’&-]*)"
_HOSPITAL = re.compile(
    rf"(?<![A-Za-z])(?P<name>(?:{_WORD}[ ](?:(?:of|and|the|for|&)[ ])?){{1,7}})"
    r"(?P<kind>(?:Hospital|Clinics?|Infirmary|Sanatorium|Hospice|Surgery|Medical (?:Center|Centre|"
    r"College|Clinic|Group|Practice|Institute)|Health (?:Center|Centre|Clinic|System))(?![A-Za-z]))"
    rf"(?P<of>[ ](?:of|at)[ ](?:the[ ])?{_WORD}(?:[ ]{_WORD}){{0,3}})?"
)
_OF = re.compile(
    rf"(?<![A-Za-z])(?:Hospital|Clinic|Medical Center)[ ](?:of|at|"
    rf"for)[ ](?:the[ ])?(?P<of>{_WORD}(?:[ ](?:of[ ])?{_WORD}){{0,3}})"
)
_STREET_TYPE = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|"
    r"Square|Sq|Close|Crescent|Parkway|Pkwy|"
    r"Highway|Hwy|Circle|Cir|Mews|Gardens|Grove|Trail|Row|Walk)"
)
_UNIT = r"(?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|#)\.?[ ]?#?\w{1,6})"
_CITY = r"(?:,[ ][A-Z][a-z]+(?:[ -][A-Z][a-z]+){0,2})"
_POST = r"(?:,?[ ](?:[A-Z]{2}[ ]\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2})(?![A-Za-z0-9]))"
_STREET = re.compile(
    rf"(?<![\d.A-Za-z-])(?:(?:Flat|Apt|Unit|"
    rf"Apartment)[ ]\w{{1,4}},[ ])?\d{{1,5}}[A-Za-z]?[ ](?:[NSEW]\.?[ ]|North[ ]|South[ ]|East[ ]|"
    rf"West[ ])?"
    rf"(?:(?:[A-Z][a-z'’.]+|\d{{1,3}}(?:st|nd|rd|"
    rf"th))[ ]){{1,4}}(?:(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pl|Sq|Pkwy|Hwy|Cir)\.|{_STREET_TYPE}(?![A-Za-z]))"
    rf"{_UNIT}?{_CITY}?{_POST}?"
)
_CITY_POST = re.compile(
    r"(?<![A-Za-z])[A-Z][a-z]+(?:[ ][A-Z][a-z]+){0,2},[ ][A-Z]{2}[ ]\d{5}(?:-\d{4})?(?!\d)"
)
_BOX = re.compile(r"(?<![A-Za-z])P\.?[ ]?O\.?[ ]Box[ ]\d{1,6}")
_KEYED = re.compile(r"(?<![A-Za-z])[Aa]ddress:[ ](\d{1,5}[^\n;]{5,80}?)(?=[.;\n]|$)")
_SENTENCE, _, _KINDS = (frozenset(words) for words in sections("english_words"))
_JOINERS = frozenset(("of", "and", "the", "for", "&"))
_OPENERS = (_SENTENCE - _KINDS) | _JOINERS
_GENERIC = _SENTENCE | _KINDS | _JOINERS


def find(text: str) -> Iterator[Span]:
    for match in _HOSPITAL.finditer(text):
        words = list(re.finditer(r"\S+", match["name"]))
        while words and words[0][0] in _OPENERS:
            words.pop(0)
        if any(word[0] not in _GENERIC for word in words):
            yield Span("hospital", match.start() + words[0].start(), match.end())
        elif match["of"] and _names(match["of"]):
            yield Span("hospital", match.start("kind"), match.end())
    for match in _OF.finditer(text):
        if _names(match["of"]):
            yield Span("hospital", *match.span())
    for pattern in (_STREET, _CITY_POST, _BOX):
        for match in pattern.finditer(text):
            yield Span("address", *match.span())
    for match in _KEYED.finditer(text):
        yield Span("address", *match.span(1))


def _names(words: str) -> bool:
    return any(word not in _GENERIC for word in words.split())


_TOWNS, _STREETS = sections("fakes")[:2]


def surrogate(value: str, type: str, dice: Dice) -> str:
    """In a town that is on no map."""
    if type == "address":
        return f"{1 + dice.number(300)} {dice.pick(_STREETS)} Lane, {dice.pick(_TOWNS)}"
    kind = next(
        (kind for kind in ("Clinic", "Medical Center", "Health Center") if kind in value), "General Hospital"
    )
    return f"{dice.pick(_TOWNS)} {kind}"
