"""Whether a text is written in Chinese or in Latin letters."""

import re

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_RUN = re.compile(rf"{CHINESE.pattern}+")
_KANA = re.compile(r"[\u3040-\u30ff]")
_WORD = re.compile(
    r"(?<![A-Za-z\u00c0-\u024f])[A-Za-z\u00c0-\u024f]*[a-z\u00df-\u00ff]{2,}[A-Za-z\u00c0-\u024f]*"
)
"""A word of at least two small letters: neither CT nor pH nor the letter of an option tells a language."""


def contains_chinese(text: str) -> bool:
    return CHINESE.search(text) is not None


def chinese_share(text: str) -> float | None:
    """Chinese characters as a share of these and of words in Latin letters; None where a text has neither, and for
    Japanese, which shares the characters."""
    if _KANA.search(text):
        return None
    chinese, latin = sum(map(len, _RUN.findall(text))), len(_WORD.findall(text))
    return chinese / (chinese + latin) if chinese + latin else None
