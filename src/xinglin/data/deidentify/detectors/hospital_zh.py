"""Names of Chinese hospitals, clinics and health centres; 医院 alone, 当地医院, 三甲医院 name none."""

import re
from collections.abc import Iterator

from xinglin.data.deidentify.detectors._boundary import first_place, name_before
from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.spans import Span

LABELS = {"hospital": ("医院", "HOSPITAL")}
RANK = 3
CHINESE = True
HINTS = (
    re.compile(
        r"[院诊门卫疾医妇防](?:(?<=[医生健养治大附市省县区雅一二三四五六七八九十]院)|(?<=诊)所|(?<=门)诊部|(?<=卫)生[室所服]|"
        r"(?<=疾)(?:控|病预)|(?<=医)[学疗]中心|(?<=妇)幼保健|(?<=防)治所)"
    ),
)

_KIND = (
    r"(?:医院|卫生院|卫生室|卫生所|卫生服务(?:中心|站)|诊所|门诊部|妇幼保健(?:计划生育服务)?(?:院|"
    r"中心|所|站)|保健院|疗养院|防治[院所]|医学中心|医疗中心|疾病预防控制中心|疾控中心)(?:第[一二三四五六七八九十]医学中心)?"
)
_BRANCH = (
    r"(?:(?:[（(][\u4e00-\u9fff]{1,6}(?:院区|分院|院|部|区)[)）])|[东西南北新老本]院区|"
    r"[\u4e00-\u9fff]{2}(?:院区|分院))?"
)
_SUFFIX = re.compile(_KIND + _BRANCH)
# 北大三院, 市一院, 附二院, 青大附院
_SHORT = re.compile(
    r"(?:[\u4e00-\u9fff]{0,3}[大医附]|[\u4e00-\u9fff]{0,3}[市省县]|"
    r"湘雅)(?:[一二三四五六]?附?[一二三四五六七八九十]院|[一二三四五六]?附院)(?![长内士子区落校])"
)

_GENERIC = re.compile(
    r"正规|当地|本地|三级|二级|一级|三甲|二甲|一甲|三乙|二乙|三特|甲等|乙等|甲级|公立|私立|私人|民营|"
    r"公办|国营|综合性?|专科|专业|专门|权威|专病|大型|中型|小型|大|小|好|老|新|总|分"
    r"|人民|中心|中医药?|西医|中西医|结合|妇幼|妇产|妇科|产科|儿童|儿科|男科|肿瘤|胸科|肺科|骨科|"
    r"口腔|牙科|眼科|耳鼻喉|皮肤病?|性病|精神病?|精神卫生|心理|康复|老年病?|传染病|结核病|肝病|"
    r"心血管病?|结核|肺病|风湿病?|糖尿病|甲状腺|乳腺|脑科|脑血管|血液病|整形|美容"
    r"|肛肠|肾病|不孕不育|生殖|急救|疼痛|体检|动物|宠物|兽医|职工|职业病|健康|预防|疾病|保健|计划生育|服务"
    r"|上级|下级|高级|基层|省级|市级|县级|区级|国家级|地级|省|市|县|区|乡镇|乡村|城乡|农村|城市|县城|"
    r"镇|乡|村|街道|社区|厂|校|学校|大学|学院|医学院?|医科大学?|附属|直属|教学|定点|指定|非定点|部队|"
    r"军队|军区|地方|国内外?|国外|国际|全国|外国|中国|美国|英国|日本|德国|法国|韩国|加拿大|澳洲|欧美"
    r"|首诊|急诊|门诊|发热|互联网|网络|网上|线上|线下|实体|方舱|新冠|诊疗|合作|协作|优质|著名|知名|"
    r"有名|相关|相应|对口|普通|一般|具体|不同|同一|合适|同家|原来|原|主治|责任|首家|定点性|隔壁|同级|"
    r"各级|高等|大中|全省|全市|省会|医保|该院|连锁|个体|黑|家"
)
_ORDINAL = re.compile(r"第?[一二三四五六七八九十]{1,3}|第?\d{1,3}")
# A name is made of none of these, whatever they form with their neighbours.
_NO_NAME = re.compile(
    r"本地|当地|"
    r"女儿|儿子|[我你您他她它们这那哪什怎吗呢啊吧呀哦嗯么些谁啥每几两俩首另前后隔内外下里边处间为以已所情况现想办出上]|"
    r"一下|没|话|舱|癫|痫|癜|癣|瘤|癌|炎|疹|疮|瘫|瘟|白癜风|植发|脱发|整容|血管|配合|救治|决定|忧心|方法|习惯|致|最|较|重视|造成|防止|引起|警惕|本品|仅限|定期|检测|细心|好多|趟|留|换|性|影响|造影|阴|防护|时期|手术|核酸|考虑|等|时|病|疾|痛|症|拿药|买药|用药|药店|药房|费|钱|带|约|"
    r"共|卖|开具|开单|手续|问题|方便|距离|小时|[一二两三四五几]家|[一二两三四五六七八九十]天|网|家|"
    r"治|医|院|科"
)
# 301医院, 第3人民医院
_NUMBERED = re.compile(r"(?<![\d.])(?:第\d{1,3}|\d{3,4})(?:人民|中心|中医)?医院")
_PART = re.compile(r"附属|[\u4e00-\u9fff]{0,4}分院")
_ANY_THERE = re.compile(r"[省市]?(?:大|大型|好|小|正规|当地|本地|各大|三甲|公立|私立)")
_AND = re.compile(r"院[和与及或]")
_COUNTY = re.compile(r"[\u4e00-\u9fff]{2,3}?[市县区旗]")
_NO_COUNTY = re.compile(
    r"[一二三四]线|发达|沿海|周边|各|这|那|哪|我|你|您|隔壁|邻|城市|外|本|郊|城区|地区|社区|小区|校区|疫区|病区"
)
_MAX_PROPER, _MAX_NAME = 8, 24


def find(text: str) -> Iterator[Span]:
    last = 0
    for match in _SUFFIX.finditer(text):
        start = name_before(text, match.start(), since=last)
        for joined in _AND.finditer(text, start, match.start()):
            start = joined.end()
        if match.start() - start <= _MAX_NAME and _names_one(text[start : match.start()]):
            yield Span("hospital", start, match.end())
        last = last if _PART.match(text, match.end()) else match.end()
    for match in _NUMBERED.finditer(text):
        yield Span("hospital", _place_before(text, match.start()), match.end())
    for match in _SHORT.finditer(text):
        start = name_before(text, match.end() - 1)
        # The name may be longer than what gives it away: 哈尔滨医大二院.
        if _SHORT.search(text, start, match.end()) and match.start() - start <= _MAX_PROPER:
            yield Span("hospital", start, match.end())


def _place_before(text: str, end: int) -> int:
    """Where the place begins that a number follows: 武汉市第3医院."""
    start = name_before(text, end)
    return start if first_place(text[start:end]) else end


def _names_one(name: str) -> bool:
    """Whether ``name``, which stands before 医院, tells one hospital from others."""
    if not name:
        return False
    if place := first_place(name):
        # 武汉的医院 is cut at 的 and comes here empty; 北京医院 is a name, 武汉大医院 is none.
        if _ANY_THERE.fullmatch(name, place.end()):
            return False
        return place.start() == 0 or not _NO_NAME.search(name[: place.start()])
    if (county := _COUNTY.match(name)) and _GENERIC.sub("", county[0]) and not _NO_COUNTY.search(county[0]):
        return True
    proper = _GENERIC.sub("", re.sub("中$", "中医", name))
    if not proper:
        return False
    if ordinal := _ORDINAL.fullmatch(proper):
        # 一医院 is most often "a hospital"
        return ordinal[0] != "一" or name[0] in "市省县" or len(name) > 2
    return 1 < len(proper) <= _MAX_PROPER and not _NO_NAME.search(proper)


_TOWNS = sections("fakes")[6]
_KINDS = (
    "中医",
    "妇幼",
    "儿童",
    "肿瘤",
    "口腔",
    "卫生院",
    "卫生室",
    "卫生服务中心",
    "诊所",
    "门诊部",
    "疗养院",
    "保健院",
)
_FULL = {
    "中医": "中医院",
    "妇幼": "妇幼保健院",
    "保健院": "妇幼保健院",
    "儿童": "儿童医院",
    "肿瘤": "肿瘤医院",
    "口腔": "口腔医院",
}


def surrogate(value: str, type: str, dice: Dice) -> str:
    """A hospital of the same kind in a town that is on no map."""
    kind = next((kind for kind in _KINDS if kind in value), "")
    town = dice.pick(_TOWNS)
    if not kind:
        return f"{town}市第{dice.pick('二三四五六七八九')}人民医院"
    return f"{town}市{_FULL[kind]}" if kind in _FULL else f"{town}镇{kind}"
