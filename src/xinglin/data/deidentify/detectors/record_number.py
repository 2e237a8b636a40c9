"""Numbers under which a hospital, an insurance or a laboratory knows a person: always behind a key word."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"record_number": ("病历号", "RECORD_NUMBER")}
RANK = 1
HINTS = (
    re.compile(r"[号码卡证][\s:：=#是为Nno.]{0,8}[A-Za-z0-9]"),
    re.compile(
        r"[#NnMIi](?:(?<=#)[ ]?[A-Z\d]|(?<=[#NnM])(?:umber|UMBER|[oO](?:[.:#]|[ ]\d)|um\.|RN)|"
        r"(?<=[Ii])[Dd](?:[:#]|[ ][A-Z\d]|[ ]is))"
    ),
)

_GAP = r"(?:\s|[:：=#是为]|[Nn][Oo]\.?|is)*"
_CHINESE = re.compile(
    r"(?:(?:住院|门诊|病历|病案|就诊|挂号|登记|影像|检查|病理|标本|样本|条码|条形码|流水|申请单?|"
    r"报告单?|透析|健康卡|就诊卡|诊疗卡|医保卡?|"
    r"社保卡?|社会保障卡?|保单|放射|超声|心电图|CT|MRI|X光|[Xx]线|ID|患者|病人|参保|受试者|入组|档案|取片)"
    r"(?:号码|编号|序号|单号|卡号|号)|(?:条形?码|就诊卡|诊疗卡|健康卡|医保卡|社保卡)[:：是为])"
    rf"{_GAP}((?=[A-Za-z-]{{0,23}}\d)[A-Za-z0-9](?:[A-Za-z0-9-]{{1,23}})(?<!-))(?![A-Za-z0-9])"
)
_BED = re.compile(r"床号[:：\s]*([A-Za-z]?\d{1,4}[A-Za-z]?)(?![A-Za-z0-9])")
_ENGLISH = re.compile(
    r"(?<![A-Za-z])(?:MRN|M\.R\.N\.|medical record|hospital|chart|patient|accession|account|acct|member|policy|"
    r"insurance|health plan|case|specimen|encounter|visit|NHS|medicare|medicaid|subscriber|"
    r"certificate|licen[cs]e|"
    r"registration)(?:[ ](?:number|no\.?|num\.?|ID|#)|(?<=MRN)|(?<=M\.R\.N\.)|[ ]?#|ID)"
    rf"{_GAP}((?=[A-Za-z-]{{0,23}}\d)[A-Za-z0-9](?:[A-Za-z0-9-]|[ ](?=\d{{3,4}}(?!\d))){{2,23}}(?<!-))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_MEASURE = re.compile(r"\d+(?:mg|ml|g|kg|cm|mm|h|d|days?|years?|st|nd|rd|th)", re.IGNORECASE)


def find(text: str) -> Iterator[Span]:
    for pattern in (_CHINESE, _ENGLISH, _BED):
        for match in pattern.finditer(text):
            if not _MEASURE.fullmatch(match[1]):
                yield Span("record_number", *match.span(1))


def surrogate(value: str, type: str, dice: Dice) -> str:
    return dice.scrambled(value)
