"""Disclaimers: answers in which a model talks about being one instead of answering."""

import re

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import exchanges
from xinglin.data.records import Conversation, Kind, Record

KINDS: tuple[Kind, ...] = ("conversation", "preference", "rating")
STANDARD = True
_CUES = ("语言模型", "作为", "我是", "我只是", " AI", "language model")
_MODEL = r"(?:AI|人工智能|大?型?语言模型|聊天机器人|智能助手)"
_ONE = r"(?:一[个名种位款台])?"
_CANNOT = r"(?:无法|不能|没有|不具备|并不|不是|不会|不持有|不可能|没办法)"
_A_MODEL = r"an? (?:AI|artificial intelligence|(?:large )?language model)\b"
_DISCLAIMS = re.compile(
    rf"作为{_ONE}[^，。,.\n]{{0,12}}?{_MODEL}[^，。,.\n]{{0,12}}[，,]?\s*我?[^，。,.\n]{{0,8}}{_CANNOT}"
    rf"|我(?:只)?是{_ONE}[^，。,.\n]{{0,8}}{_MODEL}[^，。,.\n]{{0,10}}[，,]\s*(?:所以|因此|并)?[^，。,.\n]{{0,6}}{_CANNOT}"
    rf"|\bas {_A_MODEL}[^.\n]{{0,60}}\bI (?:can(?:no|')t|do(?:n't| not)|am (?:not|unable)|must|have no)\b"
    rf"|\bI(?:'m| am) (?:just |only )?{_A_MODEL}[^.\n]{{0,60}}\b(?:can(?:no|')t|do(?:n't| not)|unable|not able)\b",
    re.IGNORECASE,
)
_LONGEST = 120
"""Characters of a disclaimer."""
_ASKED = re.compile(
    r"人工智能|机器人|模型|你是谁|你叫什么|介绍.{0,4}自己|什么帮助|你(?:能|会|可以)做什么|(?<![a-z])(?:AI|bot)(?![a-z])|GPT"
    r"|who are you|your name|language model|what can you do",
    re.IGNORECASE,
)
"""Questions about the one who answers."""


class Settings(Config):
    within: Positive = 80
    """Characters at the beginning of an answer in which a disclaimer counts; one that ends a full answer stays."""


def judge(record: Record, settings: Settings) -> str | None:
    if isinstance(record, Conversation) and record.tools:
        return None  # Saying that there is no tool for something is what such data are to teach.
    for asked, answer in exchanges(record):
        begin = answer[: settings.within + _LONGEST]
        if not any(cue in begin for cue in _CUES) or _ASKED.search(asked):
            continue
        found = _DISCLAIMS.search(begin)
        if found and found.start() < settings.within:
            return "an answer says that a model gives it, and what that cannot do"
    return None
