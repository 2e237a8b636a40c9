"""Chinese addresses: a street or estate with a number, a district or smaller place with the city that it is in."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._boundary import name_before, place_at
from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"address": ("地址", "ADDRESS")}
RANK = 3
CHINESE = True
_WAYS = "路街巷弄村苑园镇道里寓厦组场府湾城庄桥队屯坊"
HINTS = (
    re.compile(
        rf"[{_WAYS}区县乡址所居](?:(?<=[{_WAYS}])\S{{0,7}}[号弄栋幢座组室队楼单层户]|(?<=[^地疫小社病]区)|(?<=[县镇乡址])"
        r"|(?<=街道)|(?<=所)在地|(?<=居)住地)"
    ),
)

_NUMBER = r"(?:第?[0-9A-Za-z]{1,5}(?:[-－之][0-9]{1,5})?|[一二三四五六七八九十百]{1,4})"
_DOOR = rf"(?:[ ]?{_NUMBER}\s?(?:号楼|号院|号|弄|栋|幢|座|单元|室|楼|层|户|房|门|组|队|社)(?![线码源外召令]))"
_STREET = re.compile(
    r"(?<=[\u4e00-\u9fff])(?:路|大街|街|大道|巷|弄|胡同|新村|村|小区|花园|家园|苑|公寓|大厦|广场|里|"
    r"镇|府|湾|城|庄|屯|坊|园|桥|(?<![报知管通味渠吸化肠尿阴产胆气食])道)(?:[东西南北中]?[一二三四五六]?[路街段])?"
    rf"{_DOOR}(?:{_DOOR}|[\u4e00-\u9fff]{{2,8}}(?:小区|花园|苑|公寓|大厦|广场|家园|村){_DOOR}|\d{{2,4}}(?!\d))*"
)
_SMALL = re.compile(
    r"自治县|新区|区(?![间分别域])|县(?!城|里|级)|镇(?![静痛咳定])|乡(?!镇)|街道|"
    r"(?<=镇)[\u4e00-\u9fff]{1,4}村|(?<=乡)[\u4e00-\u9fff]{1,4}村"
)
_NO_DISTRICT = re.compile(
    r"(?:[地疫市小社郊城灾山校院病辖厂园景片半牧矿战军库老旧全各本该外选学住居特专务湿防管郡封县镇低高返反治林]|"
    r"风险|重点|感染|流行|高发|等|开发|各个|整个)$"
)
_MAX_INSIDE = 12
_KEYED = re.compile(
    r"(?:(?:家庭|现|通讯|通信|联系|居住|户籍|工作|单位|收货|邮寄)?(?:住址|地址|所在地)|居住地)\s?[:：]\s?"
    r"((?!无|不详|同上|未知)[\u4e00-\u9fff][\u4e00-\u9fff0-9A-Za-z#（）()·-]{3,40})"
)
_NOT_A_PLACE = re.compile(
    r"[的了在去到是有没人和与及也来过从往说听我你他她这那]|流行|重点|高发|疫情|聚集|风险|开放|医院|卫生院"
)


def find(text: str) -> Iterator[Span]:
    for match in _STREET.finditer(text):
        start = _with_city(text, name_before(text, match.start()))
        if start < match.start():
            yield Span("address", start, match.end())
    for match in _KEYED.finditer(text):
        yield Span("address", *match.span(1))
    yield from _districts(text)


def _with_city(text: str, start: int) -> int:
    """A little further left where a number or a comma parts the street from its district."""
    before = re.search(
        r"[\u4e00-\u9fff]{2,20}(?:区|县|镇|乡|市|街道|村|小区)[\s,，]?$", text[max(0, start - 24) : start]
    )
    return name_before(text, start - len(before[0]) + len(before[0].rstrip(" ,，"))) if before else start


def _districts(text: str) -> Iterator[Span]:
    """苏州吴中区, 湖北省武汉市江岸区: a known place, then one inside it."""
    for small in _SMALL.finditer(text):
        start = name_before(text, small.start())
        place = place_at(text, start)
        if place_at(text, small.start() - 1):
            continue
        inside = text[place.end() : small.start()] if place else ""
        if (
            1 <= len(inside) <= _MAX_INSIDE
            and not _NO_DISTRICT.search(inside)
            and not _NOT_A_PLACE.search(inside)
        ):
            yield Span("address", start, small.end())


_TOWNS, _STREETS = sections("fakes")[6:8]


def surrogate(value: str, type: str, dice: Dice) -> str:
    """A street in a town that is on no map."""
    return f"{dice.pick(_TOWNS)}市{dice.pick(_TOWNS)}区{dice.pick(_STREETS)}路{1 + dice.number(300)}号"
