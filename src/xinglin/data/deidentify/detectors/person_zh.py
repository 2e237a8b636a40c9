"""Names of people in Chinese texts: before or after a title, behind a key word, where they introduce themselves."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.detectors._person import could_be_name, is_doubtful, surname_length
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"doctor_name": ("医生姓名", "DOCTOR_NAME"), "patient_name": ("患者姓名", "PATIENT_NAME")}
RANK = 3
CHINESE = True

_CLINICIANS = ("主任医师", "主任", "医生", "大夫", "教授", "医师", "护士长", "护士", "院长", "药师", "专家")
_OTHERS = (
    *(
        "先生",
        "女士",
        "小姐",
        "阿姨",
        "大爷",
        "大妈",
        "大叔",
        "大姐",
        "奶奶",
        "爷爷",
        "叔叔",
        "同学",
        "师傅",
        "老师",
    ),
)
_TITLE = re.compile("|".join((*_CLINICIANS, *_OTHERS)))
_KEY_ENDS = "[名字人师士生者et]"
HINTS = (
    re.compile(
        rf"{_TITLE.pattern}|患者|病人|患儿|产妇|伤者|家属|户名|收件人|本人|我是|这是|名字是|"
        r"叫(?<=[我名字他她子儿女者人宝爸妈父母亲公婆妻夫奶爷哥姐弟妹].)|"
        r"姓(?:(?<=[我名字他她子儿女者人宝爸妈父母亲公婆妻夫奶爷哥姐弟妹].)|(?<=贵姓)|(?<=[生夫任授]姓))"
    ),
    re.compile(rf"[:：](?:(?<={_KEY_ENDS}.)|(?<={_KEY_ENDS}[\"\s].)|(?<={_KEY_ENDS}\"\s.))"),
)
_NOT_A_TITLE = re.compile(
    r"医生(?:集团|组|站|版|端)|专家(?:组|门诊|号|级|共识|会诊)|护士[站台]|先生活|教授(?:课|于)|主任务"
)
_HAN = r"[\u4e00-\u9fff]"
_COLON = re.compile(rf"[:：]\s*\"?({_HAN}{{2,5}})")
_CLINICIAN_KEY = re.compile(
    r"(?:(?:主治|主管|管床|预约|经治|接诊|首诊|手术|主刀|检查|报告|审核|审查|记录|住院|责任|值班|麻醉|送检|诊断|会诊|签名)"
    r"(?:医生|医师|护士|者|人)|(?:医生|医师|护士|大夫)(?:姓名|签名|签字)|签名|签字|术者|署名|操作人|录入人|经办人)\"?\s?$"
)
_PERSON_KEY = re.compile(
    r"(?:姓名|名字|全名|联系人|监护人|委托人|收件人|陪护人|家长签字|户名|持卡人|投保人|被保险人|开户人|"
    r"(?<![A-Za-z])(?:name|patient|patient_name))\"?\s?$"
)
_CALLED = re.compile(rf"(?:叫做?|名字是|名是|本人|我是|这是)({_HAN}{{2,4}})")
_WHO = re.compile(
    r"(?:我|名字?|[他她]|孩子|儿子|女儿|患者|病人|宝宝|爸|妈|父亲|母亲|老公|老婆|爱人|丈夫|妻子|爷爷|奶奶|外公|外婆|[哥姐弟妹])$"
)
_PATIENT = re.compile(rf"(?:患者|病人|患儿|产妇|伤者|家属|户名|收件人)[:：]?[ ]?({_HAN}{{2,4}})")
_SURNAME = re.compile(rf"姓({_HAN}{{1,2}}?)(?=[，。,.！!？?、\s的]|$)")
_WHOSE_SURNAME = re.compile(r"(?:我|本人|免贵|[他她]|医生|大夫|主任|教授)$")
_AFTER_TITLE = re.compile(
    r"(?:主任医师|主任医生|主任护师|主任药师|主治医师|主治医生|住院医师|住院医生|执业医师|执业药师|主管医生|主管护士|主管护师|"
    rf"管床医生|管床护士|接诊医生|接诊护士|值班医生|值班护士|教授)\s?({_HAN}{{2,4}})"
)
_ENDS = re.compile(
    r"[^\u4e00-\u9fff]|$|女(?![婿儿])|男|性别|年龄|电话|手机|因|诉|自述|主诉|自诉|先生|女士|小姐|"
    r"医[生师]|大夫|主任|教授|身份证|住院|住址|联系|今年|来自|家属|本人|主管|于\d|的(?!确)|签|接诊|"
    r"会诊|出诊|坐诊|和|及|与|是(?:我|个|一)|昨|今|入院|出院|在|现|，|门诊|就诊|复诊|术后|复查|家住|"
    r"病历|床号|说|告诉|您好|你好|建议|团队|为您|要求|同意|拒绝|陪|表示|反映|申请|已于|既往"
)
_KEYED_ENDS = re.compile(
    r"[^\u4e00-\u9fff]|$|性|年|男|女|电|身|住|联|签|科|职|主|日|时|审|报|病|床|号|门|民|入|出"
)
_LEFT_WORDS = (
    r"谢谢您?你?了?|感谢您?你?了?|多谢|请问一?下?|麻烦|辛苦了?|您好|你好|好的|拜托|恳请|请教一?下?|"
    r"咨询一?下?|问一?下|问问|希望|想问|请|找|问|由|让|给|跟|和|是|的|了|到|在|去|看|挂|约|及|与|对|"
    r"经|听|叫|被|说|那|而|但|想|为|吗|吧|呢|啊|呀|哦|嗯|哈|个|位|对|把|有|从|将|知|即|因|又|就|便|"
    r"需|求|望|之|得|过|着|医院|[科院室组]|医生|大夫|主任|教授|专家|团队|姓名|患者|病人|我|你|您|他|"
    r"她|们|日|号|天|月|年|午|上|次|下"
)
_LEFT = re.compile(rf"(?:{_LEFT_WORDS}|[^\u4e00-\u9fff]|^)$")
_BOUND = frozenset(sections("bound")[0])
_ASKED = re.compile(
    r"(?:谢谢您?|感谢您?|多谢|请问|麻烦您?|辛苦您?了?|您好|你好|拜托|给|找|问|跟|那|请|让|挂|约|是|叫)$"
)
_COUNTED = re.compile(r"[\d一二两三四五六七八九十几半每上下这]$")
_HAN_END = re.compile(r"[\u4e00-\u9fff]$")
_FUNCTION_WORDS = frozenset("谢向于许时应祝全单连成关管查常门")
_NEVER_UNKEYED = frozenset("应时祝全查门连成单管解")
"""Surnames that open a sentence far more often than a name: 患者应平卧."""
_MORE_TEXT = 12


def find(text: str) -> Iterator[Span]:
    for title in _TITLE.finditer(text):
        at = title.start() - (text[title.start() - 1 : title.start()] == "副")
        start = None if _NOT_A_TITLE.match(text, title.start()) else _before_title(text, at)
        if start is not None:
            yield Span("doctor_name" if title[0] in _CLINICIANS else "patient_name", start, at)
    yield from _behind_keys(text)
    for match in _CALLED.finditer(text):
        if not match[0].startswith("叫") or _WHO.search(text[max(0, match.start() - 2) : match.start()]):
            yield from _full_name("patient_name", text, match.start(1))
    for match in _PATIENT.finditer(text):
        yield from _full_name("patient_name", text, match.start(1))
    for match in _AFTER_TITLE.finditer(text):
        yield from _full_name("doctor_name", text, match.start(1))
    for match in _SURNAME.finditer(text):
        if surname_length(match[1]) == len(match[1]) and (
            who := _WHOSE_SURNAME.search(text[max(0, match.start() - 2) : match.start()])
        ):
            yield Span("doctor_name" if who[0] in _CLINICIANS else "patient_name", *match.span(1))


def _behind_keys(text: str) -> Iterator[Span]:
    for match in _COLON.finditer(text):
        key = text[max(0, match.start() - _MORE_TEXT) : match.start()]
        if _CLINICIAN_KEY.search(key):
            yield from _full_name("doctor_name", text, match.start(1), ends=_KEYED_ENDS)
        elif _PERSON_KEY.search(key):
            yield from _full_name("patient_name", text, match.start(1), ends=_KEYED_ENDS)


def _before_title(text: str, end: int) -> int | None:
    """Where the name before a title begins: the longest that has the form of one and a word boundary before it."""
    for length in (4, 3, 2):
        start = end - length
        if start < 0 or text[start] in _NEVER_UNKEYED or not could_be_name(text, start, end):
            continue
        if length == 4 and surname_length(text[start:]) != 2:
            continue
        left = text[max(0, start - _MORE_TEXT) : start]
        if not _thanks(text, start) and _LEFT.search(left) and left[-1:] + text[start] not in _BOUND:
            return start
    if surname_length(text[max(0, end - 2) : end]) == 2:
        return end - 2
    return end - 1 if end and _is_surname(text, end - 1, end) else None


def _thanks(text: str, start: int) -> bool:
    """Whether 谢 in front of a name is a thank-you and no surname."""
    return text[start] == "谢" and (
        text[start + 1] == "谢" or text[start - 1 : start] in ("谢", "感", "多", "致")
    )


def _is_surname(text: str, start: int, end: int) -> bool:
    """Whether the one character before a title is a surname: 李医生; not 责任医生, 谢医生, 许多医生."""
    sign, left = text[start], text[max(0, start - _MORE_TEXT) : start]
    if not surname_length(sign) or left[-1:] + sign in _BOUND:
        return False
    if not is_doubtful(sign):
        return True
    if _COUNTED.search(left):
        return False
    if sign not in _FUNCTION_WORDS:
        return _LEFT.search(left) is not None
    if sign == "谢" and left[-1:] in tuple("谢感多致答") and not left.endswith("谢谢"):
        return False
    title = _TITLE.match(text, end)
    said = text[title.end() :][:2] if title else ""
    # At the beginning, 谢医生 is thanks, and 向医生咨询 asks somebody.
    greeted = said in ("您好", "你好") or (sign not in "谢向应时祝" and not said[:1].isalnum())
    asked = sign not in "向应时祝" and _ASKED.search(left) is not None
    return asked or (greeted and not _HAN_END.search(left))


def _full_name(type: str, text: str, start: int, *, ends: re.Pattern[str] | None = None) -> Iterator[Span]:
    """The full name that begins at ``start``, if it stands before something that ends names."""
    if not ends and text[start : start + 1] in _NEVER_UNKEYED:
        return
    for length in (2, 3, 4):
        end = start + length
        if length == 4 and surname_length(text[start:end]) != 2:
            return
        if could_be_name(text, start, end) and (ends or _ENDS).match(text, end):
            yield Span(type, start, end)
            return


_SURNAMES, _GIVEN = sections("fakes")[4:6]


def surrogate(value: str, type: str, dice: Dice) -> str:
    """A name as long; one surname has one fake, so that 李医生 stays the 李明 of the line above."""
    length = surname_length(value) or 1
    others = [surname for surname in _SURNAMES if surname != value[:length]]
    surname = dice.about("surname", value[:length]).pick(others)
    given = dice.about("given", value)
    return surname + "".join(given.pick(_GIVEN) for _ in value[length:])
