"""Facts of a medical text that must not change when it is written anew: numbers with their units, and drugs.

Drugs are told by the stems of their international names (WHO, "The use of stems in the selection of international
nonproprietary names"), in English and as China's pharmacopoeia writes them, and by a short list of names without one.
"""

import re
import unicodedata

_ZH_STEMS = (
    "西林|霉素|沙星|环素|硝唑|康唑|洛尔|普利|沙坦|他汀|拉唑|替丁|双胍|列净|列汀|鲁肽|米松|尼松龙?|奈德|西泮|唑仑"
    "|地平(?![和静稳均卧躺放坦])|他定(?![期时下好了量位居])|(?<![大丈])夫定|法辛(?!苦)|吡坦|西汀|曲林|普仑|洛韦|福韦|替尼|单抗|贝特|格雷|沙班|噻嗪|噻米|特罗|溴铵|昔布|芬酸|洛芬|膦酸钠"
)
_ZH_NAMES = (
    "阿司匹林|布洛芬|对乙酰氨基酚|扑热息痛|胰岛素|华法林|肝素|地高辛|胺碘酮|硝酸甘油|甲氨蝶呤|环磷酰胺|青蒿素|奎宁|吗啡|可待因"
    "|曲马多|芬太尼|头孢[\u4e00-\u9fff]{1,2}|蒙脱石散|氨溴索|乙酰半胱氨酸|孟鲁司特|扑尔敏|氯苯那敏|左甲状腺素|丙硫氧嘧啶"
    "|甲巯咪唑|秋水仙碱|别嘌醇|非布司他|碳酸锂|丙戊酸|卡马西平|苯妥英|左乙拉西坦|利培酮|奥氮平|喹硫平|氯氮平|氟哌啶醇|多巴丝肼"
    "|螺内酯|茶碱|格列(?:美脲|齐特|吡嗪|喹酮|本脲)|叶酸"
)
_EN_STEMS = (
    "cillin|mycin|micin|floxacin|cycline|nidazole|conazole|olol|dipine|pril|sartan|statin|prazole|tidine|formin|gliflozin"
    "|gliptin|glutide|sone|solone|nide|azepam|zolam|oxetine|traline|alopram|faxine|ciclovir|vudine|fovir|tinib|mab|triptan"
    "|fibrate|grel|xaban|parin|thiazide|semide|lactone|phylline|terol|tropium|coxib|fenac|profen|dronate|barbital"
)
_EN_NAMES = (
    "aspirin|ibuprofen|paracetamol|acetaminophen|insulin|warfarin|digoxin|amiodarone|nitroglycerin|methotrexate"
    "|cyclophosphamide|artemisinin|quinine|morphine|codeine|tramadol|fentanyl|cef[a-z]{4,}|montelukast|levothyroxine"
    "|colchicine|allopurinol|febuxostat|lithium|valproate|carbamazepine|phenytoin|levetiracetam|risperidone|olanzapine"
    "|quetiapine|haloperidol|glimepiride|gliclazide|glipizide"
)
_ZH_DRUG = re.compile(rf"(?:{_ZH_NAMES})|[\u4e00-\u9fff](?:{_ZH_STEMS})")
_EN_DRUG = re.compile(rf"\b(?:{_EN_NAMES}|[a-z]{{2,}}(?:{_EN_STEMS}))s?\b", re.IGNORECASE)
_NO_DRUGS = frozenset(["april", "cholesterol", "cyanide"])
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_UNIT = (
    "毫克|微克|千克|公斤|克|毫升|升|单位|片|粒|袋|支|丸|滴|喷|次(?!性)"
    "|天|日|周|个?月|小时|分钟|年(?!代)|岁|厘米|毫米|倍"
)
_HAN = "[一二三四五六七八九两]"
_NUMBER = re.compile(
    r"(?<![\d.])\d+(?:\.\d+)?"
    r"|(?<![第零一二三四五六七八九十百千万])(?=[一二三四五六七八九十两])"
    rf"(?:{_HAN}千(?!克)零?)?(?:{_HAN}百零?)?(?:{_HAN}?十)?{_HAN}?(?=(?:{_UNIT}))"
)
_NUMBERED = re.compile(r"^\s*[(（]?\d{1,2}(?:[.、](?!\d)|[)）])\s*", re.MULTILINE)
_PER_DAY = re.compile(r"一(?=[天日周]\s*[\d一二三四五六七八九十两])")
"""``一天三次`` says no more than ``每天三次``."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def numbers(text: str) -> set[str]:
    """Numbers in it, in digits: ``0.50`` and ``0.5`` are one, and ``十五片`` holds 15. Those of lists do not count."""
    text = _PER_DAY.sub("", _THOUSANDS.sub("", _NUMBERED.sub("", unicodedata.normalize("NFKC", text))))
    return {f"{_value(number):.15g}" for number in _NUMBER.findall(text)}


def _value(number: str) -> float:
    if number[0].isdigit():
        return float(number)
    total = digit = 0
    for char in number:
        if scale := _SCALES.get(char):
            total, digit = total + (digit or 1) * scale, 0
        else:
            digit = _DIGITS[char]
    return float(total + digit)


def drugs(text: str) -> set[str]:
    """Names of drugs in it, in small letters; of a Chinese one the stem with the character before it."""
    text = unicodedata.normalize("NFKC", text)
    english = (match[0].lower().removesuffix("s") for match in _EN_DRUG.finditer(text))
    return {*_ZH_DRUG.findall(text), *(name for name in english if name not in _NO_DRUGS)}


def lost_facts(before: str, after: str) -> list[str]:
    """Numbers and drugs of ``before`` that ``after`` does not have."""
    folded = unicodedata.normalize("NFKC", after).lower()
    missing = sorted(numbers(before) - numbers(after))
    return missing + sorted(drug for drug in drugs(before) if drug not in folded)


def new_facts(before: str, after: str) -> list[str]:
    """Numbers and drugs of ``after`` that ``before`` does not have."""
    return lost_facts(after, before)
