"""Ages of 90 and more, of which few have each: only that they are 90 or more is kept (HIPAA Safe Harbor)."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"age": ("年龄", "AGE")}
RANK = 2
IN_PLACE = True
HINTS = (re.compile(r"[91九一Nn](?:(?<=[9九])(?:\d|十)|(?<=1)[012]\d|(?<=一)百|(?<=[Nn])inet)"),)

_NUMBER = r"(?:9\d|1[012]\d)"
_AGES = re.compile(
    rf"(?<![\d.\-~～—/至到])(?P<zh>{_NUMBER}|九十[一二三四五六七八九]?|"
    rf"一百(?:零?[一二三四五六七八九])?|一百一十[一二三四五六七八九]?)"
    r"\s?(?:多|余|来)?\s?(?:周岁|岁(?!以[上下内])|高龄)"
    rf"|(?:年龄|年纪)(?:\s|[:：是为])*(?P<keyed>{_NUMBER})(?![\d.%~～+-])"
    rf"|(?<![\d.\w-])(?P<en>{_NUMBER}|[Nn]inety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?)"
    r"(?:[- ]?years?[- ]?olds?|[- ]?yrs?[- ]?old|[ ]?y/?o(?![A-Za-z])| years? of age)"
    rf"|(?<![A-Za-z])(?:[Aa]ged?|AGE)(?:\s|[:：]|is|of)*(?P<aged>{_NUMBER})(?![\d.%~+-]|\s*(?:and|to|"
    rf"or)(?![a-z]))"
)


def find(text: str) -> Iterator[Span]:
    for match in _AGES.finditer(text):
        assert match.lastgroup
        yield Span("age", *match.span(match.lastgroup))


def surrogate(value: str, type: str, dice: Dice) -> str:
    return "90+"
