"""E-mail addresses, IP addresses, and web addresses that name a person or number."""

import ipaddress
import re
from collections.abc import Iterator

from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"email": ("邮箱", "EMAIL"), "ip": ("IP地址", "IP"), "url": ("网址", "URL")}
RANK = 1
HINTS = (
    re.compile(r"[@:w.](?:(?<=@)|(?<=:)//|(?<=w)ww\.|(?<=[0-9A-Fa-f]:)[0-9A-Fa-f:]{3}|(?<=\d\.)\d{1,3}\.\d)"),
)

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,18}(?![A-Za-z0-9])"
)
_URL = re.compile(r"(?<![A-Za-z0-9])(?:https?://|ftp://|www\.)[A-Za-z0-9._~:/?#@!$&*+;=%-]*[A-Za-z0-9/=]")
_PERSONAL = re.compile(
    r"^(?!.*/(?:19|20)\d\d/).*\d{5}|[?&;](?:\w*id|user|name|patient|token|phone|tel|openid)=|@|/~"
    r"|/(?:u|user|users|people|person|profile|member|doctor|patient|space|home)/[^/]",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z]|\.\d)")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{1,4}(?![0-9A-Za-z:])")


def find(text: str) -> Iterator[Span]:
    for match in _EMAIL.finditer(text):
        yield Span("email", *match.span())
    for match in _URL.finditer(text):
        if _PERSONAL.search(match[0]):
            yield Span("url", *match.span())
    for match in _IPV4.finditer(text):
        # Shorter ones are numbers of sections and versions: 1.2.3.4.
        if len(match[0]) >= 10 and _public(match[0]):
            yield Span("ip", *match.span())
    for match in _IPV6.finditer(text):
        if _public(match[0]):
            yield Span("ip", *match.span())


def _public(address: str) -> bool:
    """Whether it is an address that may lead to one machine in the world or in a house."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast)


def surrogate(value: str, type: str, dice: Dice) -> str:
    """Names and addresses set apart for documentation: RFC 2606, 5737, 3849."""
    if type == "email":
        return f"user{dice.digits(6)}@example.com"
    if type == "url":
        return f"https://example.com/{dice.digits(8)}"
    if ":" in value:
        return f"2001:db8::{1 + dice.number(65535):x}"
    return f"203.0.113.{1 + dice.number(254)}"
