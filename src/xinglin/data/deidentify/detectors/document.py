"""Passports, number plates of Chinese cars, and American social security numbers."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._hints import NUMBER
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"passport": ("护照号", "PASSPORT"), "plate": ("车牌号", "PLATE"), "ssn": ("社会保障号", "SSN")}
RANK = 1
HINTS = (NUMBER, re.compile(r"[A-HJ-NP-Z][·. ]?[A-HJ-NP-Z0-9]{5}"))

_PASSPORT = re.compile(r"(?<![0-9A-Za-z字])(?:[EG]\d{8}|E[A-HJ-NP-Z]\d{7})(?![0-9A-Za-z])")
_PASSPORT_KEYED = re.compile(
    r"(?:护照|[Pp]assport)(?:号码|号|[ ]?(?:[Nn]o\.?|[Nn]umber|#))?(?:\s|[:：是为]|is)*"
    r"((?=[A-Z]{0,2}\d)[A-Z0-9]{7,10})(?![0-9A-Za-z])"
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·. ]?"
    r"(?=[A-Z]*\d)(?=(?:[A-Z]*\d){3}|\d{2})[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳](?![0-9A-Za-z])"
)
_SSN = re.compile(r"(?<![0-9A-Za-z-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![0-9A-Za-z-])")
_SSN_KEYED = re.compile(
    r"(?:SSN|[Ss]ocial [Ss]ecurity(?: [Nn]umber| [Nn]o\.?)?)(?:\s|[:：#]|"
    r"is)*(\d{3}[- ]?\d{2}[- ]?\d{4})(?![0-9A-Za-z])"
)


def find(text: str) -> Iterator[Span]:
    for match in _PASSPORT.finditer(text):
        yield Span("passport", *match.span())
    for match in _PASSPORT_KEYED.finditer(text):
        yield Span("passport", *match.span(1))
    for match in _PLATE.finditer(text):
        yield Span("plate", *match.span())
    for match in _SSN.finditer(text):
        yield Span("ssn", *match.span())
    for match in _SSN_KEYED.finditer(text):
        yield Span("ssn", *match.span(1))


def surrogate(value: str, type: str, dice: Dice) -> str:
    """Never issued: the letters I and O stand neither second in a passport number nor on a plate, and no social
    security number begins with 666."""
    if type == "ssn":
        return re.sub(r"^\d{3}", "666", dice.scrambled(value))
    if type == "plate":
        return value[0] + dice.pick("IO") + dice.scrambled(value[2:])
    return "E" + dice.pick("IO") + dice.digits(7)
