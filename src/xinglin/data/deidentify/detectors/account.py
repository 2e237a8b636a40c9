"""QQ and WeChat accounts."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"account": ("账号", "ACCOUNT")}
RANK = 1
HINTS = (re.compile(r"[QqVvWw微扣支](?:[Qq]|信|[Xx]|扣|付宝|e[Cc]hat|ECHAT)"),)

_QQ = re.compile(
    r"(?<![A-Za-z])(?:[Qq]{2}|扣扣)(?:群|号码?|邮箱|[ ]?(?:number|account))*(?:\s|[:：是为]|"
    r"is)*([1-9]\d{4,11})(?![0-9A-Za-z])"
)
_WECHAT = re.compile(
    r"(?:(?<![A-Za-z])(?:[Vv][Xx]|[Ww][Xx]|[Ww]e[Cc]hat|WECHAT)|微信|[Vv]信|支付宝)"
    r"(?:号码?|账号|[ ]?(?:ID|id|account))*(?P<mark>(?:\s|[:：是为]|"
    r"is)*)(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{4,19})(?![A-Za-z0-9])"
)


def find(text: str) -> Iterator[Span]:
    for match in _QQ.finditer(text):
        yield Span("account", *match.span(1))
    for match in _WECHAT.finditer(text):
        # A word behind a colon may be an account; one that follows at once is rather a word.
        if re.search(r"\d|_", match["name"]) or re.search(r"[:：]", match["mark"]):
            yield Span("account", *match.span("name"))


def surrogate(value: str, type: str, dice: Dice) -> str:
    return f"example_{dice.digits(6)}" if not value.isdigit() else "0" + dice.digits(len(value) - 1)
