"""Phrases that a platform puts around what people wrote."""

import re

HAODF = (
    "感谢您的信任，病情资料我已详细阅读。",
    "根据您现有的资料，建议：",
    "医生已经通过语音回答了您的问题，请及时收听。",
)
"""haodf.com, as in COVID-Dialogue; the published preparation of that set removes exactly these."""

_CUES = (
    *("您的信任", "现有的资料", "语音回答", "发来一个提醒", "这个问题的建议"),
    *(
        "video or text chat",
        "Healthcare Magic",
        "HealthcareMagic",
        "Ask A Doctor",
        "Chat Doctor",
        "ChatDoctor",
    ),
    *(
        "reviewed your query",
        "or consulting",
        "assist you further",
        "answered your query",
        "patient identity",
    ),
)
"""Every phrase below holds one of these, which are found faster."""
_SITE = r"(?:Healthcare ?Magic|Chat ?Doctor|[‘'\"]Ask A Doctor[’'\"])"
_PHRASES = re.compile(
    "|".join(
        (
            *map(re.escape, HAODF),
            r"医生给您发来一个提醒[：:]",
            r"(?:以上是对[“\"][^”\"\n]{1,100})?[”\"]这个问题的建议，希望对您有帮助，祝您健康[！!。]?",
            r"Would you like to video or text chat with me\?",
            rf"Thank(?:s| you) for (?:your (?:question|query)|posting|writing|consulting) (?:on|at|to|with) {_SITE}"
            r"[.,!]?",
            rf"(?:Hello,? and )?Welcome to {_SITE}(?: (?:service|forum))?[.,!]?",
            r"I have reviewed your query and here is my advice\.",
            r"Thank(?:s| you) for consulting (?:with )?us[.,!]?",
            r"Hope (?:that )?I have answered your query\.?(?= |$)",
            r"(?:Please )?let me know if I can assist you further\.?",
            r"\(attachment removed to protect patient identity\)\.?",
        )
    ),
    re.IGNORECASE,
)


def without_boilerplate(text: str) -> str:
    return _PHRASES.sub("", text) if any(cue in text for cue in _CUES) else text
