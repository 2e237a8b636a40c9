"""HTML in texts: tags and entities to what a reader would see, without touching ``<`` in ``WBC<4.0``.

Powers and indices stay what they are: ``10<sup>9</sup>/L`` becomes 10⁹/L and never 109/L.
"""

import html
import re
from html.entities import html5

_VALUE = r"""(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_REST = rf"(?:\s+[\w:-]+\s*=\s*{_VALUE})*\s*/?>"
_BLOCK = r"p|div|br|hr|li|ul|ol|dl|dt|dd|table|tbody|thead|tr|h[1-6]|section|article|blockquote|center"
_INLINE = r"span|b|i|u|em|strong|font|a|img|td|th|small|big|label|nobr|ins"
TAG = re.compile(rf"</?(?:{_BLOCK}|{_INLINE}|sup|sub|script|style){_REST}", re.IGNORECASE)
"""A tag of those that format text; not any ``<…>``."""
_UNSEEN = re.compile(rf"<(script|style){_REST}.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_RAISED = re.compile(rf"<(su[pb]){_REST}([^<>]{{0,40}})</\1\s*>", re.IGNORECASE)
_BREAK = re.compile(rf"(?:(?<!\s)\s++)?</?(?:{_BLOCK}){_REST}\s*", re.IGNORECASE)
_ENTITY = re.compile(
    r"&(?:(?:amp|#38|#[xX]26);)*(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,24};)"
)
"""As often as it was escaped: ``&amp;amp;lt;``."""
_SUPERSCRIPT = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_SUBSCRIPT = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_CODE = re.compile(
    r"```|<!doctype|<html|<\?php|#include\b|(?<![a-z])(?:html|javascript)|</?code", re.IGNORECASE
)


def is_about_code(text: str) -> bool:
    """It shows or discusses code, whose tags are its subject."""
    return _CODE.search(text) is not None


def without_markup(text: str) -> str:
    """Tags that format text are gone, block tags are line breaks, entities are characters."""
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    if "<" not in text:
        return text
    text = _RAISED.sub(_raised, _UNSEEN.sub("", text))
    return TAG.sub(
        lambda tag: " " if tag[0].lower().startswith(("</td", "</th")) else "", _BREAK.sub("\n", text)
    )


def _character(entity: re.Match[str]) -> str:
    known = entity[1][0] == "#" or entity[1] in html5
    return html.unescape(f"&{entity[1]}") if known else f"&{entity[1]}"


def _raised(found: re.Match[str]) -> str:
    sign, table = ("^", _SUPERSCRIPT) if found[1].lower() == "sup" else ("_", _SUBSCRIPT)
    text = found[2]
    if not any(each.isdigit() for each in text):
        return text
    moved = text.translate(table)
    kept = any(before == after and not before.isspace() for before, after in zip(text, moved, strict=True))
    return f"{sign}{text}" if kept else moved
