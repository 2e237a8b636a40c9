"""Normalisation changes the writing and never a dose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.records import Conversation, Document, Message, Origin, Record
from xinglin.data.writing.normalise import Normalise, Normaliser

ORIGIN = Origin("rows.jsonl", 1)
DOSES = (
    "0.5 mg/kg", "1.25g", "10⁹/L",
    "×10^9/L", "≤ 38.5℃", "≥140/90 mmHg", "5～10 ml", "±2 SD", "½ tablet", "1½片", "10 μg",
    "10 µg", "Ca²⁺", "H₂O", "CO₂", "① 布洛芬 0.3g", "5%葡萄糖", "1:1000", "1∶20", "－20℃", "pH 7.35-7.45", "WBC<4.0",
    "PLT>100", "A/G<1.0", "120/80", "q8h", "2.5×10⁶IU", "50%～60%", "T₃、T₄", "Ⅲ期", "37.2°C", "mEq/L", "m²", "1,000 U",
)  # fmt: skip
FORM = str.maketrans("－％／＜＞＋＝", "-%/<>+=")


def conversation(answer: str, question: str = "怎么办？") -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), ORIGIN)


def normal(text: str, **settings: object) -> str:
    record = Normaliser(Normalise.model_validate(settings))(conversation(text)).record
    assert isinstance(record, Conversation)
    return record.messages[1].content


def document(text: str, **settings: object) -> str:
    record = Normaliser(Normalise.model_validate(settings))(Document(text, ORIGIN)).record
    assert isinstance(record, Document)
    return record.text


@pytest.mark.parametrize("dose", DOSES)
def test_doses_survive(dose: str) -> None:
    assert normal(f"每次{dose}口服") == f"每次{dose.translate(FORM)}口服"
    assert document(f"每次{dose}口服") == f"每次{dose.translate(FORM)}口服"


PIECES = st.one_of(
    st.sampled_from(DOSES),
    st.sampled_from(("<p>", "</p>", "&nbsp;", "&lt;b&gt;", "&amp;lt;", "\u200b", "\r\n", "\n", "  ", "\u3000", "。")),
    st.text(max_size=8),
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join))
def test_again_changes_nothing(text: str) -> None:
    for change in (normal, document):
        once = change(text)
        assert change(once) == once


@given(st.lists(st.sampled_from(DOSES), min_size=1, max_size=40), st.sampled_from(("，", " ", "\n", "；")))
def test_digits_and_units_stay_in_order(doses: list[str], between: str) -> None:
    text = between.join(doses).translate(FORM)
    for result in (normal(text), document(text)):
        assert "".join(result.split()) == "".join(text.split())


def test_full_width_letters_become_half_width_and_punctuation_stays() -> None:
    assert normal("ＣＴ检查，体温３８．５℃（５０％）：正常！") == "CT检查，体温38.5℃（50%）：正常！"
    assert normal("ＣＴ", characters=False) == "ＣＴ"
    assert normal("每次１．５mg，０．５片，约38．5℃") == "每次1.5mg，0.5片，约38.5℃"
    assert normal("禁忌：1．5岁以下儿童禁用") == "禁忌：1．5岁以下儿童禁用"
    assert normal("eﬃcacy of ⾷⽤") == "efficacy of 食用"


def test_what_cannot_be_seen_goes() -> None:
    assert normal("\ufeff多\u200b喝\x00水\r\n\xa0好\u2028的") == "多喝水\n 好\n的"
    assert normal("\x93ok\x94 \U0001f468\u200d\u2695\ufe0f") == "“ok” \U0001f468\u200d\u2695\ufe0f"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("<p>本品用于治疗痛经。</p>", "本品用于治疗痛经。"),
        ("指导意见：<br>考虑耳鸣<BR/>多休息", "指导意见：\n考虑耳鸣\n多休息"),
        ("WBC 10<sup>9</sup>/L，H<sub>2</sub>O，V<sub>max</sub>", "WBC 10⁹/L，H₂O，Vmax"),
        ("10<sup>-3</sup>，2<sup>a+1</sup>", "10⁻³，2^a+1"),
        ("E/A比值&lt;1，滴度&gt;1：20，&ldquo;好&rdquo;&nbsp;的", "E/A比值<1，滴度>1：20，“好” 的"),
        ("若a<b and c>d，ALB<35g/L,A/G<1.0, TBil>35", "若a<b and c>d，ALB<35g/L,A/G<1.0, TBil>35"),
        ('<a href="https://x.org" class=b>说明书</a><script>var a = "<p>";</script>', "说明书"),
        ("AT&T; R&D &unknown; a&b", "AT&T; R&D &unknown; a&b"),
    ],
)  # fmt: skip
def test_markup_becomes_what_a_reader_sees(given: str, wanted: str) -> None:
    assert normal(given) == wanted


@pytest.mark.parametrize("text", ["```\n<p>a</p>\n```", "用<p>写一个HTML段落", "<!DOCTYPE html><p>a</p>"])
def test_code_keeps_its_tags(text: str) -> None:
    assert normal(text) == text


def test_platform_phrases_and_addresses() -> None:
    assert normal("感谢您的信任，病情资料我已详细阅读。根据您现有的资料，建议：多休息。") == "多休息。"
    assert normal("Rest. Would you like to video or text chat with me?") == "Rest."
    assert normal("见 http：//www.a.com/b.html。谢谢", urls="remove") == "见 。谢谢"
    assert normal("见 http://a.com") == "见 http://a.com"
    assert normal("答。本平台提示", phrases=["本平台提示"]) == "答。"


def test_blanks() -> None:
    assert normal("  一  二 \n\n\n\n三\t\n四 ") == "一 二\n\n三\n四"
    assert normal("| a  | b |\n|---|---|") == "| a  | b |\n|---|---|"
    assert normal("```\nif a:\n    b  = 1\n```") == "```\nif a:\n    b  = 1\n```"


BOOK = """内容：味酸，平。主安五脏，益精气，长阴令坚，强志倍力，有子。久服，轻身、不老一名覆盆，其实可食，其
根入药，古今注家多有异说，未可尽从。《名医》以为生荆山平泽及冤句，五月采，此说得之，后人以为生于川谷
者非也，当从本经。
案∶此条与上经相合，诸家所引亦同，惟《御览》所引文有小异，今据《大观本草》黑字定之，其余各本不复一一
具列，读者详之。"""
ENGLISH = """Ibuprofen is a nonsteroidal anti-inflammatory drug that is used for the relief
of pain, fever and inflammation. The usual dose in adults is 200 to 400 mg every
four to six hours as needed, and the daily dose should not be more than 1200 mg
without advice of a physician.
- Do not take it with alcohol."""


def test_hard_wraps_are_joined_between_paragraphs() -> None:
    first, second = document(BOOK).split("\n")
    assert first == "".join(BOOK.split("\n")[:3]) and second == "".join(BOOK.split("\n")[3:])
    assert document(ENGLISH).split("\n") == [
        " ".join(ENGLISH.split("\n")[:4]),
        "- Do not take it with alcohol.",
    ]
    assert normal(ENGLISH) == ENGLISH and document(BOOK, hard_wraps=False) == BOOK


def test_the_hyphen_of_a_broken_word_goes_where_the_whole_word_is_known() -> None:
    text = (
        "hypertension is treated with a thiazide, or with any other beta-\n"
        "blocker that the patient can take for many years, if (hyperten-\n"
        "sion) does not go away with less salt and with more of exercise."
    )
    assert document(text) == text.replace("hyperten-\n", "hyperten").replace("beta-\n", "beta-")


@pytest.mark.parametrize(
    "text",
    [
        "四君子汤中和义，参术茯苓甘草比\n益以夏陈名六君，祛痰补气阳虚饵\n除却半夏名异功，或加香砂胃寒使",
        "\n".join(
            f"{number}. " + "注意休息，避免辛辣刺激的食物，定期复查血常规以及肝功能和肾功能等"
            for number in range(5)
        ),
        "\n".join(
            "| 白细胞计数 white blood cells | 4.0-10.0 | 10⁹/L | 全自动血细胞分析仪法检测 |" for _ in range(5)
        ),
        "\n".join("布洛芬缓释胶囊用于缓解轻至中度疼痛，如头痛、关节痛、偏头痛、牙痛等。" for _ in range(5)),
    ],
    ids=["verse", "list", "table", "paragraphs"],
)
def test_other_lines_stay(text: str) -> None:
    assert document(text) == text


def test_a_number_at_a_break_is_not_joined() -> None:
    line = "本品为处方药必须凭医师处方购买和使用口服每次用量应当遵照医嘱一般每日"
    text = f"{line}{line[:4]}10\n0mg，{line}{line[:2]}\n{line}{line[:4]}并\n多饮水。"
    assert "10\n0mg" in document(text)


def page(number: int) -> str:
    return "\n".join(
        [
            f"传染病学  {number}",
            *(f"第{number}页第{line}行的正文内容各不相同。" for line in range(15)),
            f"- {number} -",
        ]
    )


def test_running_heads_go_and_numbered_headings_stay() -> None:
    book = "\n".join(page(number) for number in range(41, 46))
    result = document(book)
    assert "传染病学" not in result and "- 4" not in result
    assert result.count("正文内容") == 75
    cases = "\n".join(page(number).replace("传染病学 ", "病例") for number in range(1, 5))
    assert document(cases, page_furniture=True).count("病例") == 4


def test_what_changed_is_said() -> None:
    normalise = Normaliser(Normalise())
    record: Record = conversation("ＣＴ <b>好</b>")
    assert normalise(record).changed == {"characters", "markup"}
    same = conversation("多休息。")
    assert normalise(same) == (same, frozenset()) and normalise(same).record is same
