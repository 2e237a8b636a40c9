"""What the rules find, and what they must leave alone."""

from pathlib import Path

import pytest

from xinglin.data.deidentify import TYPES, scan
from xinglin.data.deidentify.detectors.bank_card import passes_luhn
from xinglin.data.deidentify.detectors.id_card import check_digit
from xinglin.data.deidentify.scanning import DETECTORS

DATA = Path(__file__).parents[4] / "shared" / "data" / "train" / "covid-dialogue"

FOUND = {
    "身份证110101199003078515已登记": [("id_card", "110101199003078515")],
    "身份证１１０１０１１９９００３０７８５１５。": [("id_card", "１１０１０１１９９００３０７８５１５")],
    "旧证110101900307851号": [("id_card", "110101900307851")],
    "香港身份证A123456(3)": [("id_card", "A123456(3)")],
    "回乡证：H12345678": [("permit", "H12345678")],
    "电话13800138000，": [("phone", "13800138000")],
    "打138 0013 8000找我": [("phone", "138 0013 8000")],
    "拨打0571-87654321转3": [("phone", "0571-87654321转3")],
    "热线400-820-8820": [("phone", "400-820-8820")],
    "Call (212) 555-0187.": [("phone", "(212) 555-0187")],
    "ring 07700 900123 today": [("phone", "07700 900123")],
    "邮箱zhangwei@163.com谢谢": [("email", "zhangwei@163.com")],
    "卡号6222021234567890128。": [("bank_card", "6222021234567890128")],
    "住院号：00123456": [("record_number", "00123456")],
    "MRN: A-0012345": [("record_number", "A-0012345")],
    "medical record number is 774412": [("record_number", "774412")],
    "加我QQ123456789": [("account", "123456789")],
    "微信号wxid_a12345": [("account", "wxid_a12345")],
    "京A12345停在门口": [("plate", "京A12345")],
    "护照E12345678": [("passport", "E12345678")],
    "SSN 123-45-6789": [("ssn", "123-45-6789")],
    "第1.12.3.14节": [],
    "从120.136.48.19登录": [("ip", "120.136.48.19")],
    "见https://example.org/user/881234": [("url", "https://example.org/user/881234")],
    "我奶奶九十三岁了": [("age", "九十三")],
    "a 94-year-old woman": [("age", "94")],
    "2020年3月5日入院，3月20号出院": [("date", "2020年3月5日"), ("date", "3月20号")],
    "二〇二〇年三月五日": [("date", "二〇二〇年三月五日")],
    "on 5 March 2020 and Mar. 7th": [("date", "5 March 2020"), ("date", "Mar. 7th")],
    "家住江苏省南京市鼓楼区中山路88号3栋502室": [("address", "江苏省南京市鼓楼区中山路88号3栋502室")],
    "我在苏州吴中区": [("address", "苏州吴中区")],
    "I live at 42 Maple Street, Springfield, IL 62704.": [
        ("address", "42 Maple Street, Springfield, IL 62704")
    ],
    "去了武汉市第九医院": [("hospital", "武汉市第九医院")],
    "月份开始在北京大学肿瘤医院": [("hospital", "北京大学肿瘤医院")],
    "在深圳人民医院和北大深圳医院做了检查": [("hospital", "深圳人民医院"), ("hospital", "北大深圳医院")],
    "到哈尔滨医大二院复查": [("hospital", "哈尔滨医大二院")],
    "在301医院看过": [("hospital", "301医院")],
    "seen at Mayo Clinic and at St. Mary's Hospital": [
        ("hospital", "Mayo Clinic"),
        ("hospital", "St. Mary's Hospital"),
    ],
    "谢谢任泽鹏医生": [("doctor_name", "任泽鹏")],
    "谢谢李医生": [("doctor_name", "李")],
    "不过任医生你好": [("doctor_name", "任")],
    "谢医生您好": [("doctor_name", "谢")],
    "欧阳医生在吗": [("doctor_name", "欧阳")],
    "主治医师：王小明 签名": [("doctor_name", "王小明")],
    "我叫李雷，": [("patient_name", "李雷")],
    "患者张伟因发热入院": [("patient_name", "张伟")],
    '{"name": "张伟", "n": 1}': [("patient_name", "张伟")],
    "My name is John Smith and Dr. Emily Chen saw me": [
        ("patient_name", "John Smith"),
        ("doctor_name", "Emily Chen"),
    ],
    "reviewed by Anna B. Lee, MD": [("doctor_name", "Anna B. Lee")],
}
NOTHING = """
谢谢医生|谢谢大夫|谢医生，再见|好的谢谢医生|感谢医生|许多医生|于是主任说|方法由医生决定|严重了医生|任何医生|责任医生|对方医生|如何医生
向医生咨询|需要向医生说明|也许医生会|时医生说|上海医生|西安医生|主治医生|这位医生|值班医生|一周医生说|2周医生复查|疗程医生会定|那现在医生说
病人：
谢谢|病人：好的|患者高热|病人白天咳嗽|我是孕妇，|我叫她来|姓名：不详|医生：谢谢您的信任
正规医院|当地医院|三甲医院|中医院|去中医院还是西医院|县医院|县人民医院|附近医院|大医院|上级医院|专科医院|社区医院|定点医院|刚在总医院
你们医院|哪家医院|去医院|两家医院|省中医院|儿童医院|建议您到正规中医医院|武汉的医院|一家私立医院|去一医院
头孢克肟0.1g，每日2次|阿莫西林500mg tid|血压120/80mmHg|WBC 11.2×10^9/L
HBV-DNA 2.5E+06|J18.901|I10.x00
国药准字H20083219|国药准字Z11020001
ICD-10 E11.9|1.2.3.4|3-5天|2019年|90%以上|90岁以上老人|100毫升|1-2周|120 180 240|第3天|三月份|五月|5月份|2.5月
微信群|QQ上说|护照办理|打120|银行卡|身份证|住院号|病历号不详
武汉疫区|广东地区|北京小区|小区里|一公里路|两条街|20组|镇静|乡镇卫生院
Dr. pepper|Dr. Pepper|Hello doctor, I|Thank you Doctor. The cough
Doctor Please help|my local Clinic|the General Hospital
Fever Clinic|Children's Hospital|Parkinson disease|MR Brain|I am Indian.
In May we went|may 5 mg help|Vitamin B12 1000|take 2 to 3 Tablets
""".strip()


@pytest.mark.parametrize("text", FOUND)
def test_finds(text: str) -> None:
    assert [(span.type, text[span.start : span.end]) for span in scan(text)] == FOUND[text]


@pytest.mark.parametrize("text", [text for line in NOTHING.split("|") for text in line.split("\n") if text])
def test_leaves_alone(text: str) -> None:
    assert scan(text) == []


def test_a_label_of_a_speaker_is_no_key() -> None:
    assert scan("病人：\n谢谢，我明白了\n医生：\n高烧要去看") == []


def test_no_backslash_b_at_the_edges_of_chinese() -> None:
    folder = Path(DETECTORS[0].__file__ or "").parent
    for path in folder.glob("*.py"):
        assert r"\b" not in path.read_text(encoding="utf-8"), path.name


def test_detectors_fit_their_contract() -> None:
    for detector in DETECTORS:
        assert detector.RANK in (0, 1, 2, 3)
        assert detector.HINTS and all(hint.groups == 0 for hint in detector.HINTS)
        assert all(len(labels) == 2 for labels in detector.LABELS.values())
    assert len({labels[0] for labels in TYPES.values()}) == len(TYPES)


def test_check_digits() -> None:
    # The example of GB 11643, a test number of Visa and one of UnionPay.
    assert check_digit("11010519491231002") == "X"
    assert passes_luhn("4111111111111111") and passes_luhn("6222021234567890128")
    assert not passes_luhn("4111111111111112")


def test_wrong_check_digits_are_no_cards() -> None:
    assert scan("编号110101199003078516") == []
    assert scan("流水4111111111111112") == []


@pytest.mark.skipif(not DATA.exists(), reason="COVID-Dialogue is not beside the checkout")
def test_thousands_of_thanks_are_no_names() -> None:
    text = (DATA / "COVID-Dialogue-Dataset-Chinese.txt").read_text(encoding="utf-8")[:600_000]
    names = [text[span.start : span.end] for span in scan(text) if span.type == "doctor_name"]
    assert text.count("谢谢医生") > 50 and text.count("任医生") > 40
    assert "谢" not in names and names.count("任") > 40
    assert not {"向", "许", "何", "于"} & {name for name in names if names.count(name) > 5}


@pytest.mark.parametrize("before", range(985, 1003))
def test_a_number_below_its_key_word_is_found_in_a_long_text(before: int) -> None:
    text = "正" * before + "\n住院号：\n\nA1234567\n" + "文字。\n" * 700
    assert [text[span.start : span.end] for span in scan(text)] == ["A1234567"]
