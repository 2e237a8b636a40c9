"""Mismatch: long answers that share nothing with a long question in the same language."""

import itertools

from xinglin.config.base import Config
from xinglin.config.parts import Positive
from xinglin.data.filters import exchanges
from xinglin.data.records import Kind, Record
from xinglin.data.writing.language import CHINESE

KINDS: tuple[Kind, ...] = ("conversation", "preference", "rating")
STANDARD = False


class Settings(Config):
    """A cheap look at characters, which synonyms deceive: off unless asked for."""

    characters: Positive = 30
    """Different Chinese characters that question and answer have each, at least, to be judged."""
    shared: Positive = 1
    """Pairs of neighbouring Chinese characters that both have to share."""


def judge(record: Record, settings: Settings) -> str | None:
    for asked, answer in exchanges(record):
        pairs = [_pairs(text) for text in (asked, answer)]
        if min(map(len, pairs)) >= settings.characters and len(pairs[0] & pairs[1]) < settings.shared:
            return f"question and answer share {len(pairs[0] & pairs[1])} pairs of characters"
    return None


def _pairs(text: str) -> set[tuple[str, str]]:
    return {pair for pair in itertools.pairwise(text) if all(map(CHINESE.match, pair))}
