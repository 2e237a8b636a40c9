"""Lines of books: hard-wrapped ones joined, running heads and page numbers taken out."""

import itertools
import re
from collections import defaultdict

NARROWEST, WIDEST = 50, 120
"""Cells of a wrapped line: 25 Chinese characters, where no verse is as long, to 60, or as many Latin letters."""
_LONG, _FULL = 0.75, 0.88
"""Shares of the width: a line that may have been broken, and one that surely fills it."""
_SLACK = 4
"""Cells that a line which fills the width may lack, as some punctuation must not begin a line."""
_ENDED = re.compile(r"[。！？!?.;；:：…”」』)）】]$")
_STARTS = re.compile(
    r"\s{2,}|\u3000|[-*•·●○■◆▪#>|<【\[［〔]|第[\d一二三四五六七八九十百]+[章节篇卷回条]|[^\s，。,.]{1,8}[：:∶]"
    r"|[（(]?(?:\d{1,3}|[一二三四五六七八九十]{1,3}|[A-Za-z])[)）.、．](?!\d)"
)
"""The beginning of a list item, a heading, a table row, a field, an indented paragraph."""
_TABLE = re.compile(r"\||\t|\S {3,}\S")
_WORD = re.compile(r"[^\s\u2e80-\u9fff\uff00-\uffef]+")
_NUMBER_SPLIT = re.compile(r"\d[.,]?\n[.,]?\d")
"""Whether it is one number, 10|0 mg, or two, nobody can tell."""
_PAGE = re.compile(
    r"\s*(?:[-–—·]\s*(\d{1,4})\s*[-–—·]|第\s*(\d{1,4})\s*页(?:[，,/ ]*共?\s*\d+\s*页)?"
    r"|page\s+(\d{1,4})(?:\s+of\s+\d+)?|(\d{1,4}))\s*",
    re.IGNORECASE,
)
_HEAD = re.compile(r"\s*(?:(\d{1,4})\s+(\S.{1,38}?)|(\S.{1,38}?)[\s·.…]+(\d{1,4}))\s*")
_NUMBERED = re.compile(
    r"(?:病例|案例|图|表|例|附录|问题|题|步骤|阶段|case|table|fig(?:ure)?|chapter|section|step|question|day|week|phase"
    r"|stage)\W*$",
    re.IGNORECASE,
)
_PAGES = 3
"""Pages from which on a line is a running head."""
_LEAST, _MOST = 12, 90
"""Lines on a page."""


def joined(text: str) -> str:
    """``text`` with hard-wrapped lines joined; as it was where its lines do not look wrapped."""
    lines = [line.rstrip() for line in text.split("\n")]
    widths = [_width(line) for line in lines]
    limit = _wrapped_at(lines, widths)
    if limit is None:
        return text
    words = frozenset(re.findall(r"\w+", text)) if "-\n" in text else frozenset()
    pieces = [lines[0]]
    for before, width, line in zip(lines, widths, lines[1:], strict=False):
        if not _goes_on(before, width, line, limit):
            pieces += ["\n", line]
            continue
        line = line.lstrip()
        if before.endswith("-"):
            # The hyphen of a broken word goes where the whole word stands elsewhere: beta-blocker keeps it.
            if re.split(r"\W", before[:-1])[-1] + re.split(r"\W", line)[0] in words:
                pieces[-1] = pieces[-1][:-1]
        elif before[-1].isascii() and line[0].isascii():
            pieces.append(" ")
        pieces.append(line)
    return "".join(pieces)


def _wrapped_at(lines: list[str], widths: list[int]) -> int | None:
    """The width that ``lines`` keep to, if most long ones fill it and stop inside a sentence."""
    filled = sorted(filter(None, widths))
    if len(filled) < 3:
        return None
    limit = filled[min(len(filled) - 1, int(len(filled) * 0.98))]
    if not NARROWEST <= limit <= WIDEST:
        return None
    # The last line of a text was not broken, whatever its width.
    before = zip(lines[:-1], widths, strict=False)
    long = [(line, width) for line, width in before if width >= _LONG * limit]
    full = sum(width >= _FULL * limit for _, width in long)
    open_ = sum(not _ENDED.search(line) for line, _ in long)
    return limit if full >= max(2, 0.6 * len(long), 0.2 * len(filled)) and open_ >= 0.5 * len(long) else None


def _goes_on(line: str, width: int, after: str, limit: int) -> bool:
    """Whether ``line`` was broken before ``after``: it fills the width, as the next word would not have fitted."""
    if not line or not after or width > 1.1 * limit or _STARTS.match(after) or _TABLE.search(line):
        return False
    if _NUMBER_SPLIT.search(f"{line[-2:]}\n{after[:2]}"):
        return False
    word = _WORD.match(after)
    if word and _WORD.match(line[-1]):
        return width + 1 + len(word[0]) > limit
    return width + _SLACK >= limit or (width >= _LONG * limit and not _ENDED.search(line))


def _width(line: str) -> int:
    """Cells that a line takes; in GB 18030 a wide character is two bytes, and encoding is fast."""
    return len(line.encode("gb18030", "replace"))


def without_page_furniture(text: str) -> str:
    """``text`` without lines that hold only a page number, and running heads with one.

    Such lines come back with growing numbers, a page apart; what is counted in medicine (病例 3, Table 2) is none.
    """
    lines = text.split("\n")
    if len(lines) < _PAGES * _LEAST:
        return text
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for at, line in enumerate(lines):
        if len(line) <= 60 and (mark := _mark(line)):
            found[mark[0]].append((at, mark[1]))
    furniture = {at for places in found.values() if _is_furniture(places) for at, _ in places}
    return "\n".join(line for at, line in enumerate(lines) if at not in furniture) if furniture else text


def _mark(line: str) -> tuple[str, int] | None:
    """What a line says beside a number, and the number."""
    if page := _PAGE.fullmatch(line):
        return "", int(next(filter(None, page.groups())))
    if head := _HEAD.fullmatch(line):
        title, number = head[2] or head[3], head[1] or head[4]
        return None if _NUMBERED.search(title) else (title.strip(), int(number))
    return None


def _is_furniture(places: list[tuple[int, int]]) -> bool:
    if len(places) < _PAGES:
        return False
    steps = list(itertools.pairwise(places))
    growing = all(before[1] < after[1] for before, after in steps)
    pages, apart = places[-1][1] - places[0][1], places[-1][0] - places[0][0]
    return growing and _LEAST <= apart / pages <= _MOST
