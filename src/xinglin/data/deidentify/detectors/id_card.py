"""Identity cards of mainland China (15 and 18 digits), Hong Kong, Macau; permits to travel between them."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._hints import NUMBER
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"id_card": ("身份证号", "ID_CARD"), "permit": ("通行证号", "PERMIT")}
RANK = 0
HINTS = (NUMBER,)

_DATE = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_REGION = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91)\d{4}"
_LONG = re.compile(
    rf"(?<![0-9A-Za-z]){_REGION}[ -]?(?:18|19|20)\d{{2}}[ -]?{_DATE}[ -]?\d{{3}}[\dXx](?![0-9A-Za-z])"
)
_SHORT = re.compile(rf"(?<![0-9A-Za-z.]){_REGION}\d{{2}}{_DATE}\d{{3}}(?![0-9A-Za-z.])")
_KEYED = re.compile(
    r"(?:身份证件?(?:号码|号)?|公民身份号码|证件号码?|[Ii]dentity (?:card )?(?:no\.?|number))"
    r"(?:\s|[:：是为])*+((?=[\dXx -]*\d{6})\d[\d -]{12,20}[\dXx])(?![0-9A-Za-z])"
)
_HONG_KONG = re.compile(r"(?<![0-9A-Za-z])([A-Z]{1,2})(\d{6})\s?[(（]([0-9A])[)）]")
_MACAU = re.compile(r"(?<![0-9A-Za-z])[157]\d{6}\s?[(（]\d[)）]")
_PERMIT = re.compile(
    r"(?:通行证|回乡证|台胞证|台湾证|居住证|居留证|(?<![A-Za-z])[Pp]ermit)(?:件)?(?:号码|号|"
    r"[ ]?(?:[Nn]o\.?|[Nn]umber))?"
    r"(?:\s|[:：是为])*([A-Z]{0,3}\d{7,12}[A-Z]?)(?![0-9A-Za-z])"
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def find(text: str) -> Iterator[Span]:
    for match in _LONG.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if check_digit(digits[:17]) == digits[17].upper():
            yield Span("id_card", *match.span())
    for match in _SHORT.finditer(text):
        yield Span("id_card", *match.span())
    for match in _KEYED.finditer(text):
        yield Span("id_card", *match.span(1))
    for match in _HONG_KONG.finditer(text):
        if _hong_kong_check(match[1], match[2]) == match[3]:
            yield Span("id_card", *match.span())
    for match in _MACAU.finditer(text):
        yield Span("id_card", *match.span())
    for match in _PERMIT.finditer(text):
        yield Span("permit", *match.span(1))


def check_digit(first: str) -> str:
    """Last character of a card from its first 17 digits: ISO 7064 mod 11-2, as GB 11643 has it."""
    return "10X98765432"[sum(int(d) * w for d, w in zip(first, _WEIGHTS, strict=True)) % 11]


def _hong_kong_check(letters: str, digits: str) -> str:
    """Weights 9 … 2 over two letters (10 … 35, a missing one counts 36) and six digits; mod 11."""
    values = [ord(letter) - 55 for letter in letters.rjust(2, "[")] + [int(digit) for digit in digits]
    rest = -sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) % 11
    return "A" if rest == 10 else str(rest)


def surrogate(value: str, type: str, dice: Dice) -> str:
    """A wrong check digit, and for 15 digits, which have none, a region that does not exist."""
    if type == "permit" or not value[0].isdigit():
        return dice.scrambled(value)
    if len(re.sub(r"\D", "", value)) < 17:
        return "99" + dice.scrambled(value[2:])
    born = f"{1940 + dice.number(65)}{1 + dice.number(12):02}{1 + dice.number(28):02}"
    first = dice.pick(("110199", "310199", "440199", "510199")) + born + dice.digits(3)
    return first + dice.pick([digit for digit in "0123456789" if digit != check_digit(first)])
