"""Unfinished: answers and documents that stop in the middle of a sentence."""

import re

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import learned
from xinglin.data.records import Kind, Record
from xinglin.data.writing.endings import ends_open, goes_on

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True
_SLOPPY = re.compile(r"[;；]$|(?:希望|期望|但愿|祝|谢谢|感谢|参考|满意)[^，,。;；]{0,20}[，,]$")
"""The end of a list, or a farewell: with the wrong sign, but an end."""


class Settings(Config):
    strict: bool = False
    """Remove as well what ends on a long line without a full stop. People leave it out; models do not."""
    characters: Positive = 20
    """Shorter texts are not judged."""


def judge(record: Record, settings: Settings) -> str | None:
    ends = ends_open if settings.strict else goes_on
    # In a chat people send a sentence in pieces, and models go on when asked to: the last answer counts.
    last = learned(record)[-1:]
    if any(len(text) >= settings.characters and ends(text) and not _SLOPPY.search(text) for text in last):
        return "stops in the middle of a sentence"
    return None
