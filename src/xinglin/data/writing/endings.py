"""Whether a text stops in the middle of a sentence."""

import re

_SHORT = 20
"""Characters of a last line that need no full stop: the name of a drug, a letter, a heading."""
_GOES_ON = re.compile(r"[,，、;；:：(（\[【“‘《\-–—/]$")
_ENDS = re.compile(r"[^\w\s]$")
_ITEM = re.compile(r"\s*(?:[-*•·]|\(?\d+[.)、）]|[（(]?[一二三四五六七八九十]+[、)）.])")


def goes_on(text: str) -> bool:
    """It ends on a comma, an opening bracket or the like."""
    return _GOES_ON.search(text) is not None


def ends_open(text: str) -> bool:
    """It ends on a comma or the like, or on a long line without an end that is no item of a list."""
    if goes_on(text):
        return True
    last = text.rsplit("\n", 1)[-1]
    return not (_ENDS.search(text) or len(last) <= _SHORT or _ITEM.match(last))
