"""Checks of what a model wrote. Each raises ``Rejected``."""

import re
import unicodedata
from collections.abc import Sequence

from xinglin.data.filters import disclaimer
from xinglin.data.records import Conversation, Message, Origin
from xinglin.data.writing.endings import goes_on
from xinglin.synthesis.facts import new_facts
from xinglin.synthesis.task import Rejected, is_chinese

_REFUSES = re.compile(
    r"^\W*(?:(?:很|非常|十分)?(?:抱歉|对不起|遗憾)|不好意思)[，,。\s]*(?:但?我|作为)[^。\n]{0,20}?(?:无法|不能|不便|没办法)"
    r"|^\W*我(?:无法|不能|不便)(?:回答|提供|给出|协助|完成)"
    r"|^\W*(?:I(?:'m| am) (?:very |really |so )?sorry,? but|Sorry,? (?:but )?I"
    r"|I (?:can(?:no|')t|am (?:not able|unable) to|won't) (?:help|assist|answer|provide|comply|give|fulfil))",
    re.IGNORECASE,
)
_TEXT = "(?:文本|文章|文字|资料|材料|内容|段落|文献|片段)"
_REFERS = re.compile(
    rf"(?:根据|依据|参考|参照|结合|按照)(?:上述|以上|上面|以下|下列|所给|给出|提供)?的?{_TEXT}"
    rf"|(?:上述|上面|这[段篇]|[该本此]段|所给|给出的|提供的)的?{_TEXT}"
    r"|文中|本文|该文|原文|此文|(?:文本|文章|材料|资料|段落|文献)(?:中|里|所述|提到|指出)"
    r"|\b(?:the|this|that)\s+(?:(?:above|given|provided|following|reference)\s+)?"
    r"(?:text|passage|article|document|paragraph|excerpt)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^(?:\*\*)?(?:问题?|提问|回答|答案?|改写后的?回答|患者|病人|医生|Q|A|Question|Answer|Patient|Doctor)(?:\*\*)?"
    r"\s*[:：]\s*(?:\*\*)?\s*",
    re.IGNORECASE,
)
_FENCED = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
_QUOTES = {"“": "”", '"': '"', "「": "」", "『": "』"}
_PLAIN = re.compile(r"[\W_]+")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")
_WORD = re.compile(r"[a-z]{4,}(?:[.'-][a-z]+)*", re.IGNORECASE)
"""Shorter ones mostly hold sentences together."""


def check_length(text: str, *, least: int, most: int, what: str) -> None:
    """In characters."""
    if len(text) < least:
        raise Rejected(f"{what}_too_short", f"{len(text)} of {least} characters")
    if len(text) > most:
        raise Rejected(f"{what}_too_long", f"{len(text)} of {most} characters")


def check_language(text: str, *, chinese: bool) -> None:
    if is_chinese([text]) != chinese:
        raise Rejected("wrong_language", "Chinese was asked for" if chinese else "English was asked for")


def check_standalone(text: str, *, what: str) -> None:
    """It must be understood by who does not know the source."""
    if found := _REFERS.search(text):
        raise Rejected(f"{what}_refers_to_text", found[0].strip())


def check_answer(question: str, answer: str) -> None:
    """No refusal, no talk about being a model, no end in the middle of a sentence."""
    if _REFUSES.search(answer):
        raise Rejected("refusal", answer[:60])
    talk = Conversation((Message("user", question), Message("assistant", answer)), Origin("", 0))
    if disclaimer.judge(talk, disclaimer.Settings()):
        raise Rejected("disclaimer", answer[:60])
    if goes_on(answer):
        raise Rejected("unfinished", answer[-30:])


def check_grounded(answer: str, sources: Sequence[str], *, support: float) -> None:
    """Enough of it stands in ``sources``, and every number and drug does."""
    source = "\n".join(sources)
    if invented := new_facts(source, answer):
        raise Rejected("ungrounded_fact", ", ".join(invented[:5]))
    share = supported(answer, source)
    if share < support:
        raise Rejected("ungrounded", f"{share:.2f} of it is in the source")


def supported(text: str, source: str) -> float:
    """The share of pairs of Chinese characters and of longer Latin words of ``text`` that ``source`` has too; 1
    for a text with neither."""
    units = _units(text)
    return len(units & _units(source)) / len(units) if units else 1.0


def _units(text: str) -> set[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    pairs = (run[i : i + 2] for run in _CHINESE.findall(text) for i in range(len(run) - 1))
    words = _WORD.findall(text)
    return {*pairs, *words}


def bare(text: str) -> str:
    """Without signs, blanks and case: equal for texts that say the same in the same words."""
    return _PLAIN.sub("", unicodedata.normalize("NFKC", text)).lower()


def unwrapped(text: str) -> str:
    """Without the quotes, labels and fences that models put around what they were asked for."""
    text = _LABEL.sub("", _FENCED.sub(r"\1", text.strip()).strip())
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1]
    return text.strip()
