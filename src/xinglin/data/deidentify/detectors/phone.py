"""Telephone numbers: Chinese mobile, landline, 400 and 800; American, British and international style."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._hints import NUMBER
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"phone": ("电话", "PHONE")}
RANK = 2
HINTS = (NUMBER,)

_FORMS = re.compile(
    r"(?<![0-9A-Za-z.])(?:"
    # 13800138000, 138 0013 8000, +86-138-0013-8000
    r"(?:(?:\+|00)?86[- ]?)?1[3-9]\d(?:[- ]?\d{4}){2}"
    # 0571-8765432, (010) 87654321, +86 10 8765 4321
    r"|(?:\+86[- ]?[1-9]\d{1,2}|[(（]0\d{2,3}[)）]|0\d{2,3}[-—–－])[- ]?[2-9]\d{2,3}[- ]?\d{4}(?:[-转]\d{1,5})?"
    r"|[48]00[- ]?\d{3}[- ]?\d{4}|[48]00[- ]?\d{4}[- ]?\d{3}"
    # (212) 555-0123, 212-555-0123, +1 212 555 0123
    r"|(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\)[- ]?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4}|"
    r"\+1[ ]?[2-9]\d{2}[ ]?\d{3}[ ]?\d{4}"
    # 07700 900123, 020 7946 0018, 01632 960123
    r"|(?:\+44[ ]?(?:\(0\))?|0)(?:7\d{3}[ ]?\d{3}[ ]?\d{3}|2\d[ ]?\d{4}[ ]?\d{4}|1\d{2,3}[ ]\d{3}[ ]?\d{3,4})"
    # any other country
    r"|\+[2-9]\d{0,2}[- ]?\d{2,4}(?:[- ]?\d{3,4}){1,3}"
    r")(?![0-9A-Za-z]|\.\d|-\d)"
)
_KEYED = re.compile(
    r"(?:电话|手机|座机|传真|热线|联系方式|联系号码|(?<![A-Za-z])(?:[Tt]el(?:ephone)?|[Pp]hone|"
    r"[Mm]obile|[Cc]ell|[Ff]ax))"
    r"(?:号码|号|[ ]?(?:[Nn]umber|[Nn]o\.?))?(?:\s|[:：是为.]|is)*"
    r"([(（+]?\d[\d() （）-]{5,16}\d)(?![0-9A-Za-z])"
)


_AREA = re.compile(r"[48]00|010|02\d|0\d{3}|8610|862\d|86\d{3}|\d\d")


def find(text: str) -> Iterator[Span]:
    for match in _FORMS.finditer(text):
        yield Span("phone", *match.span())
    for match in _KEYED.finditer(text):
        if 7 <= len(re.sub(r"\D", "", match[1])) <= 15:
            yield Span("phone", *match.span(1))


def surrogate(value: str, type: str, dice: Dice) -> str:
    """The same grouping, in a block that is given to no subscriber: 154 in China, 555-01xx in North America,
    07700 900xxx in Britain (Ofcom), a subscriber number with a leading zero elsewhere."""
    digits = re.sub(r"\D", "", value)
    if match := re.fullmatch(r"((?:00)?86)?1[3-9]\d{9}", digits):
        return _in_form(value, (match[1] or "") + "154" + dice.digits(8))
    if re.fullmatch(r"1?[2-9]\d{9}", digits) and not digits.startswith(("400", "800")):
        return _in_form(value, digits[:-7] + "55501" + dice.digits(2))
    if re.fullmatch(r"(?:44|0)7\d{9}", digits):
        return _in_form(value, digits[:-10] + "7700900" + dice.digits(3))
    area = _AREA.match(digits)
    kept = area.end() if area and len(digits) > 8 else 0
    return _in_form(value, digits[:kept] + "0" + dice.digits(len(digits) - kept - 1))


def _in_form(value: str, digits: str) -> str:
    """``value`` with ``digits``, as many as it has, in the place of its own."""
    stream = iter(digits)
    return re.sub(r"\d", lambda _: next(stream), value)
