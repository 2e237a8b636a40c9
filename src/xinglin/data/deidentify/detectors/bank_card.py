"""Bank and credit cards: 15 to 19 digits that pass the Luhn check, or follow a key word."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._hints import NUMBER
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"bank_card": ("银行卡号", "BANK_CARD")}
RANK = 1
HINTS = (NUMBER,)

_CARD = re.compile(
    r"(?<![0-9A-Za-z.])(?:(?:62|4\d|5[1-5]|2[2-7]|35|60|6[4589]|9[45])\d{2}(?:[ -]?\d{4}){3}(?:[ -]?\d{1,3})?"
    r"|3[47]\d{2}[ -]?\d{6}[ -]?\d{5})(?![0-9A-Za-z.])"
)
_KEYED = re.compile(
    r"(?:银行(?:卡|账|帐)|信用卡|储蓄卡|借记卡|卡号|(?:[Cc]redit|[Dd]ebit|[Bb]ank) card)(?:号码|号|"
    r"[ ]?(?:no\.?|number))?"
    r"(?:\s|[:：是为]|is)*(\d{4}(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,4})?)(?![0-9A-Za-z])"
)


def find(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        if passes_luhn(re.sub(r"\D", "", match[0])):
            yield Span("bank_card", *match.span())
    for match in _KEYED.finditer(text):
        yield Span("bank_card", *match.span(1))


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def surrogate(value: str, type: str, dice: Dice) -> str:
    """The same grouping, digits that fail the check."""
    fake = dice.scrambled(value[:-1])
    wrong = [digit for digit in "0123456789" if not passes_luhn(re.sub(r"\D", "", fake) + digit)]
    return fake + dice.pick(wrong)
