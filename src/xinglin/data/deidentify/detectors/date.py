"""Days and months in Chinese, ISO, American, British and English words. A year alone is not personal and stays."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"date": ("日期", "DATE")}
RANK = 2
IN_PLACE = True
_MONTH = (
    "[JFMASONDjfmasond](?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)"
    "(?<=[Jj]an|[Ff]eb|[Mm]ar|[Aa]pr|May|[Jj]u[nl]|[Aa]ug|[Ss]ep|[Oo]ct|[Nn]ov|[Dd]ec)"
)
HINTS = (
    re.compile(
        r"[\d月](?:(?<=月)份?[0-9一二三四五六七八九十]|(?<=\d)(?:\s?[年月]|[-/.]\d{1,2}[-/.]\d|\d{3}[-/]?[01]\d|"
        rf"\.\d{{1,2}}[日号]|(?:st|nd|rd|th)?(?:[ -]|\sof\s){_MONTH}))"
    ),
    re.compile(rf"{_MONTH}[a-z]{{0,6}}\.?,?\s?(?:of )?\d"),
)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_NUMBER_OF = {
    name[:length].lower(): number for number, name in enumerate(MONTHS, 1) for length in (3, len(name))
}
_NUMBER_OF["sept"] = 9
# "may" is a verb more often than a month.
_NAMES = (f"[{name[0]}{name[0].lower()}]{name[1:]}" if name != "May" else name for name in (*MONTHS, "Sept"))
_SHORT = "|".join(f"[{name[0]}{name[0].lower()}]{name[1:3]}" for name in MONTHS if name != "May")
_NAME = rf"(?P<m>(?:{'|'.join(_NAMES)}|{_SHORT}))(?:\.(?=[ ]?\d)|(?![A-Za-z]))"
_Y4, _M, _D = r"(?P<y>(?:19|20)\d{2})", r"(?P<m>1[0-2]|0?[1-9])", r"(?P<d>3[01]|[12]\d|0?[1-9])"
_HAN_D = r"(?P<d>三十一?|二十[一二三四五六七八九]?|十[一二三四五六七八九]?|[一二三四五六七八九])"
_ORDINAL = r"(?P<d>(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?)"
_UNITS = r"(?!\d|\s?(?:个|次|份|天|年|月|周|岁|多|余|到|至|支|片|粒|盒|瓶|元|mg|ml|点\d|[.%~～-]\d))"
_TO = r"\s?[-–—~～至到]{1,2}\s?"
_DAYS = rf"(?={_TO}\d{{1,2}}\s?[日号])"
_NO_MORE = r"(?![\d/]|\.\d|-(?!(?:19|20)\d\d(?P=s)\d|\d{1,2}[./]\d))"
"""Behind the last number of a date; a hyphen may lead to where a range ends."""
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?<![\d.])(?P<y>(?:19|20)?\d{{2}})\s?年\s?{_M}\s?月(?:份?\s?{_D}(?:\s?[日号]|{_DAYS}|{_UNITS}))?(?!\d)",
        r"(?P<y>[一二][九〇○零O][〇○零O一二三四五六七八九]{2})年(?P<m>十[一二]?|[一二三四五六七八九])月"
        rf"(?:{_HAN_D}[日号])?",
        rf"(?<![\d.年/-]){_M}\s?月\s?{_D}(?:\s?[日号]|{_DAYS}|{_UNITS})",
        rf"(?<![\d./-]){_M}\.{_D}[日号](?![线针管丝缝])",
        rf"(?<![一二三四五六七八九十年几])(?P<m>十[一二]?|[一二三四五六七八九])月(?:份)?{_HAN_D}[日号]",
        rf"(?<![\dA-Za-z./-]){_Y4}(?P<s>[-/.])\s?{_M}(?P=s)\s?{_D}{_NO_MORE}",
        rf"(?<![\dA-Za-z.]){_Y4}(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?![\dA-Za-z]|\.\d)",
        rf"(?<![\dA-Za-z./-]){_Y4}[-/](?P<m>0[1-9])(?![\d/.-])",
        rf"(?<![\dA-Za-z./])(?<!(?<!/\d{{4}})-)(?P<a>[0-3]?\d)(?P<s>[-/.])(?P<b>[0-3]?\d)(?P=s){_Y4}"
        r"(?![\d/]|\.\d|-(?!\d{1,2}/\d))",
        r"(?<![\dA-Za-z./-])(?P<a>[0-3]?\d)/(?P<b>[0-3]?\d)/(?P<y>\d{2})(?![\d/.A-Za-z-]|\s?(?:[mM]onth|"
        r"[wW]eek|[dD]ay|[hH](?:ou)?r|[yY]ear|mg|ml|个?月|周|天|小时|年|岁))",
        (
            rf"(?<![A-Za-z]){_NAME}\s?{_ORDINAL}(?![\d:%]|\.\d|\s?(?:mg|ml|days|weeks|months|"
            rf"years))(?:,?\s+{_Y4}(?!\d))?"
        ),
        rf"(?<![\d.A-Za-z]){_ORDINAL}[ -](?:of )?{_NAME}(?![A-Za-z])(?:[, -]{{1,2}}{_Y4}(?!\d))?",
        rf"(?<![A-Za-z]){_NAME},?\s(?:of )?{_Y4}(?!\d)",
    )
)
_LAST = re.compile(
    rf"(?P<to>{_TO})(?:(?P<y>(?:19|20)\d\d)(?P<s>[-/.]))?"
    rf"(?:{_M}(?P<between>[-/.]|\s?月\s?))?{_D}(?P<day>\s?[日号])?(?![\d/-]|\.\d|\s?[A-Za-z%])"
)
"""Where a range ends, behind the date with which it begins: 3月5日至8日, 2020.3.5-3.8, 2020/3/5-2020/3/8."""
_NUMBER_FIRST = (*_FORMS[:-3], _FORMS[-2])
"""The others look at every letter, and find nothing where the hint of a name before a number does not."""
_ORDER = "〇一二三四五六七八九"
_LEAP = 2020
"""Stands in for a year that is not said, so that the 29th of February can be one."""


def find(text: str) -> Iterator[Span]:
    named = HINTS[1].search(text)
    for form in _FORMS if named else _NUMBER_FIRST:
        for match in form.finditer(text):
            if (day := _read(match)) is not None:
                last = _last(match, day)
                whole = last is not None and last["y"] is None
                yield Span("date", match.start(), last.end() if last and whole else match.end())
                if last and not whole:
                    yield Span("date", last.start("y"), last.end())


def surrogate(value: str, type: str, dice: Dice) -> str:
    """The date ``dice.days`` later, written as it was; a month moves as its 15th does, and both ends of a range are
    written in full. Nothing for a piece of a date, whose rest is part of something else."""
    shift = timedelta(days=dice.days)
    for form in _FORMS:
        match = form.match(value)
        day = match and _read(match)
        if not match or not day:
            continue
        if match.end() == len(value):
            return _written(match, day + shift)
        if (last := _last(match, day)) and last.end() == len(value):
            ends = _written(match, _ends(last, day) + shift)
            sign = "" if match[0].endswith(("日", "号")) else last["day"] or ""
            return f"{_written(match, day + shift)}{last['to']}{ends}{sign}"
    return ""


def _last(match: re.Match[str], day: date) -> re.Match[str] | None:
    """Where the range ends that begins with ``match``, the date ``day``; None for a date alone."""
    groups = match.groupdict()
    last = _LAST.match(match.string, match.end()) if groups.get("d") or "a" in groups else None
    if last is None:
        return None
    between = last["between"]
    if between in ("-", "/", "."):
        # In 2020-3-5-3-8 nobody can tell which hyphen joins.
        alike = groups.get("s") == between and not (between in last["to"] and last["y"] is None)
    else:
        alike = last["day"] is not None
    try:
        _ends(last, day)
    except ValueError:
        return None
    return last if alike else None


def _ends(last: re.Match[str], day: date) -> date:
    """The last day of a range that begins on ``day``."""
    return day.replace(year=int(last["y"] or day.year), month=int(last["m"] or day.month), day=int(last["d"]))


def _read(match: re.Match[str]) -> date | None:
    """The day that is meant; None where there is no such day."""
    parts = {name: part for name, part in match.groupdict().items() if part}
    if "a" in parts:
        month, day = (parts[name] for name in _order(parts))
    else:
        month, day = parts["m"], parts.get("d", "15")
    try:
        return date(_year(parts.get("y")), _number(month), _number(day))
    except ValueError:
        return None


def _order(parts: dict[str, str]) -> tuple[str, str]:
    """Which group is the month and which the day: American unless it cannot be."""
    return ("b", "a") if int(parts["a"]) > 12 else ("a", "b")


def _year(text: str | None) -> int:
    if text is None:
        return _LEAP
    if not text.isascii():
        text = "".join(str(_ORDER.index(_zero(sign))) for sign in text)
    year = int(text)
    return year if year > 99 else year + (2000 if year < 40 else 1900)


def _zero(sign: str) -> str:
    return "〇" if sign in "○零O" else sign


def _number(text: str) -> int:
    if text.lower() in _NUMBER_OF:
        return _NUMBER_OF[text.lower()]
    if text[0].isdigit() and text[0].isascii():
        return int(re.sub(r"\D", "", text))
    tens, ten, ones = text.rpartition("十")
    return (10 * _ORDER.index(tens or "一") if ten else 0) + (_ORDER.index(ones) if ones else 0)


def _written(match: re.Match[str], day: date) -> str:
    groups = match.groupdict()
    month, of_month = _order(groups) if "a" in groups else ("m", "d")
    new = {"y": day.year, month: day.month, of_month: day.day}
    padded = any((groups.get(name) or "").startswith("0") for name in (month, of_month))
    two = all(len(groups.get(name) or "") == 2 for name in (month, of_month))
    padded |= match[0].isdigit() or (two and groups.get("s") is not None)
    pieces, at = [], match.start()
    for name in sorted((name for name in new if groups.get(name)), key=match.start):
        pieces += [match.string[at : match.start(name)], _like(match[name], new[name], padded=padded)]
        at = match.end(name)
    return "".join([*pieces, match.string[at : match.end()]])


def _like(old: str, new: int, *, padded: bool) -> str:
    """``new`` written as ``old`` is: in digits, Chinese numerals, by the name of the month, or as 1st, 2nd, 3rd."""
    if old.lower() in _NUMBER_OF:
        name = MONTHS[new - 1] if len(old) > 4 or old in ("May", "June", "July") else MONTHS[new - 1][:3]
        return name.upper() if old.isupper() else name.lower() if old.islower() else name
    if not old[0].isascii():
        return "".join(_ORDER[int(digit)] for digit in str(new)) if len(old) == 4 else _chinese(new)
    if len(old) == 4 and old.isdigit():
        return f"{new:04}"
    if new > 99:
        return f"{new % 100:02}"
    if not old.isdigit():
        return f"{new}{'th' if 10 < new < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(new % 10, 'th')}"
    return f"{new:02}" if padded else str(new)


def _chinese(number: int) -> str:
    tens, ones = divmod(number, 10)
    return ("" if not tens else "十" if tens == 1 else _ORDER[tens] + "十") + (_ORDER[ones] if ones else "")
