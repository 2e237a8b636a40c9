"""Encoding junk: texts that were decoded wrongly once: �, 锟斤拷, Ã©, 锛屾垜."""

import re
from typing import Annotated

from pydantic import Field

from xinglin.config.base import Config
from xinglin.data.filters import contents
from xinglin.data.records import Kind, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating", "question")
STANDARD = True
_LOST = re.compile("\ufffd+|锟斤拷|锟\ufffd|烫烫烫|屯屯屯")
_LATIN = re.compile(
    "[\u00c2-\u00f4](?:[\u0080-\u00bf]|[\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2030\u2122])|â[\u20ac\u2020-\u203a]"
)
"""UTF-8 read as Latin-1 or Windows-1252: a lead byte, and one that only follows. Quotes may follow a word."""
_GBK = re.compile("[锛銆鈥][\u4e00-\u9fff\ue000-\uf8ff?]")
"""UTF-8 read as GBK: how ，。“ begin."""

_ANY = re.compile("[\ufffd锟烫屯锛銆鈥\u00c2-\u00f4]")
"""What each of them begins with."""


class Settings(Config):
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0005
    """Share of characters that are junk, at most: one lost character in a book is none, one in an answer is."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in contents(record):
        if not _ANY.search(text):
            continue
        for name, junk, least in (
            ("lost", _LOST, 1),
            ("wrongly decoded", _LATIN, 2),
            ("wrongly decoded", _GBK, 3),
        ):
            found = sum(1 for _ in junk.finditer(text))
            if found >= least and found > settings.share * len(text):
                return f"{found} characters {name}"
    return None
