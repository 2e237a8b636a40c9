"""Where the name of a hospital or an address begins, in running Chinese text.

Such a name ends in a word that is easy to see (医院, 路88号) and begins anywhere: "刚在上海华山医院". What stands
before that word is read as far as Chinese characters go, cut after the last word that cannot be part of a name
(a verb, a pronoun, a time, 的), and then at the first place name.
"""

import re

from xinglin.data.deidentify.detectors._lists import sections

PLACES = tuple(word for section in sections("places") for word in section)
_PLACE = re.compile("|".join(sorted(PLACES, key=len, reverse=True)))
_STOPS, _PROTECTED = (frozenset(words) for words in sections("stops"))
_WORD = re.compile("|".join(sorted(_STOPS | _PROTECTED, key=len, reverse=True)))
_RUN = re.compile(r"[\u4e00-\u9fff]+$")
_JOINED = ("大学", "学院", "附属", "集团", "军区", "战区", "省", "市", "县", "区", "医大", "旗", "盟", "州")
MAX_CHARACTERS = 26


def place_at(text: str, start: int) -> re.Match[str] | None:
    return _PLACE.match(text, start)


def first_place(text: str) -> re.Match[str] | None:
    return _PLACE.search(text)


def name_before(text: str, end: int, *, since: int = 0) -> int:
    """Where the name that goes on at ``end`` begins, not before ``since``; ``end`` itself where nothing before it can
    belong to it."""
    run = _RUN.search(text, max(since, end - MAX_CHARACTERS), end)
    if not run:
        return end
    # 甲医院和乙医院: what joins two names belongs to neither.
    start = run.start() + (run.start() == since > 0 and text[since] in "和与及或")
    places = [match.span() for match in _PLACE.finditer(text, start, end)]
    for word in _WORD.finditer(text, start, end):
        # 来 is a stop, but not in 来宾.
        inside = any(first < word.end() and word.start() < last for first, last in places)
        if word[0] in _STOPS and not inside:
            start = word.end()
    place = _PLACE.search(text, start, end)
    if place and not text[start : place.start()].endswith(_JOINED):
        start = place.start()
    return start
