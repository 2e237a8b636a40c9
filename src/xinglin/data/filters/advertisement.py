"""Advertisements: answers and documents that send the reader to one clinic, hotline or seller."""

import re
from typing import NamedTuple

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import learned
from xinglin.data.records import Kind, Record

KINDS: tuple[Kind, ...] = ("document", "conversation", "preference", "rating")
STANDARD = True


class _Sign(NamedTuple):
    cues: tuple[str, ...]
    """One of these is in every text that ``pattern`` finds, and they are found faster."""
    pattern: re.Pattern[str]


_SIGNS = {
    "its own house": _Sign(
        (
            "我院",
            "本院",
            "我们医院",
            "我们的专家",
            "我中心",
            "ur clinic",
            "ur hospital",
            "ur cent",
            "ur specialists",
        ),
        re.compile(
            r"我院|本院|我们医院|我们的专家|我中心|\b[Oo]ur (?:clinic|hospital|cent(?:er|re)|specialists)\b"
        ),
    ),
    "an invitation": _Sign(
        (
            *("欢迎", "热线", "电话", "点击", "加我", "直接找", "进行咨询"),
            *("all us", "ontact us", "isit our", "ook a", "ook your"),
        ),
        re.compile(
            r"欢迎(?:您|你)?(?:的)?(?:来电|来院|到院|致电|拨打|咨询|前来|光临|预约)"
            r"|(?:咨询|预约|服务|免费)(?:热线|电话)|点击(?:在线)?(?:咨询|预约)|点击在线|加我(?:微|扣|[QqVv]|好友)"
            r"|直接找我们|专家进行咨询|\b[Cc](?:all|ontact) us\b|\b[Vv]isit our (?:clinic|hospital|cent)"
            r"|\b[Bb]ook (?:an|your) appointment with (?:us|our)\b"
        ),
    ),
    "a promise": _Sign(
        (
            *(
                "祖传",
                "包治",
                "治愈率",
                "根治率",
                "彻底",
                "永不",
                "退款",
                "专利",
                "独家",
                "独特",
                "特色",
                "联疗法",
            ),
            *("国家级", "出院", "自主研发", "先进"),
        ),
        re.compile(
            r"祖传|包治|(?:根治|治愈)率(?:高达|达到?)|(?<!不)(?:能|可以|会)(?:有效的?)?彻底(?:治愈|根治|自愈|康复|清除)"
            r"|永不复发|无效退款|专利(?:中药|技术|产品)|独家|独特(?:的?疗法|之处)|特色疗法|[三四五八]联疗法|国家级专家"
            r"|康复出院|自主研发|先进的?(?:仪器|设备)"
        ),
    ),
}
_CONTACT = re.compile(
    r"(?<![\d.])(?:1[3-9]\d{9}|0\d{2,3}[-—]?\d{7,8}|[48]00[-—]?\d{3}[-—]?\d{4})(?![\d.])"
    r"|(?:QQ|微信|V信|vx|扣扣?)[号群:： ]{0,3}[A-Za-z0-9_-]{6,}|医院(?:官网|网址|网站)|来院路线|就诊地址",
    re.IGNORECASE,
)
_PUBLIC = re.compile(
    r"心理(?:援助|危机|咨询)|自杀|轻生|危机干预|急救|中毒|疾控|家暴|crisis|suicid|poison|emergency",
    re.IGNORECASE,
)
"""Help for everyone in need; a text that speaks of it advertises nothing."""


class Settings(Config):
    signs: Positive = 2
    """Different signs of advertising that make one, of four: a house of its own, an invitation, a promise, a contact.
    Doctors say 到我院 to their own patients, so one sign alone is none."""


def judge(record: Record, settings: Settings) -> str | None:
    for text in learned(record):
        found = [
            name
            for name, sign in _SIGNS.items()
            if any(cue in text for cue in sign.cues) and sign.pattern.search(text)
        ]
        if len(found) >= settings.signs - 1 and _CONTACT.search(text):
            found.append("a contact")
        if len(found) >= settings.signs and not _PUBLIC.search(text):
            return " and ".join(found)
    return None
