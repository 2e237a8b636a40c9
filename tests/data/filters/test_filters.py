"""What each filter removes, and what looks like it and stays."""

import pytest

from xinglin import plugins
from xinglin.data.filters import PACKAGE, exchanges, learned
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Rating, Record, ToolCall

ORIGIN = Origin("rows.jsonl", 1)
LONG = "建议您到正规医院的消化内科做胃镜检查，明确是否有溃疡，平时少吃辛辣刺激的食物，注意休息。"


def conversation(answer: str, question: str = "我最近胃不舒服，应该怎么办？") -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), ORIGIN)


def rating(answer: str, *, good: bool) -> Rating:
    return Rating(conversation(answer).messages, ORIGIN, good=good)


def judged(name: str, record: Record, **settings: object) -> str | None:
    module = plugins.load(PACKAGE, name)
    return module.judge(record, module.Settings.model_validate(settings))


REMOVED = [
    ("advertisement", "建议来我院就诊，我院独家的四联疗法可以治好。"),
    ("advertisement", "请拨打免费咨询热线400-123-4567，我们医院的专家为您解答。"),
    ("advertisement", "宝妈加我扣1234567890了解。"),
    ("advertisement", "Please call us at 010-12345678 to reach our clinic today."),
    ("disclaimer", "很抱歉，作为一个人工智能语言模型，我无法提供医疗建议。"),
    ("disclaimer", "As an AI language model, I cannot give medical advice."),
    ("disclaimer", "I'm just an AI, so I can't diagnose you."),
    ("encoding_junk", "多休\ufffd\ufffd息，多喝水。"),
    ("encoding_junk", "锟斤拷锟斤拷多休息"),
    ("encoding_junk", "The patientâ€™s fever wasnâ€™t high; cafÃ© rÃ©sumÃ©"),
    ("encoding_junk", "锛屾垜銆備綘鐨勶紒锛屼綘濂姐€傚彂鐑э紵".replace("€", "")),
    ("language", "Нужно обратиться к врачу и сдать анализ крови на сахар" * 2),
    ("language", "すぐに病院へ行って、血液検査を受けてください。お大事に。" * 3),
    ("links", "请看 https://www.example.org/health/stomach/ulcer/index.html"),
    ("repetition", LONG + LONG),
    ("repetition", "好的" * 60),
    ("repetition", "多喝水，多休息，吃清淡的食物。\n" * 5),
    ("symbols", "请做检查。" + "。" * 60),
    ("symbols", "3.5 " * 30),
    ("too_short", "？？"),
    ("unfinished", LONG[:-1] + "，"),
    ("unfinished", "Take one tablet of paracetamol after meals and"[:-4] + ","),
]
KEPT = [
    ("advertisement", "我院目前不做这项检查，下周三到我院耳鼻喉科门诊找我复查。"),
    ("advertisement", "如果有自杀的想法，请立即拨打心理咨询热线 010-82951332，我院急诊也可以帮助您。"),
    ("advertisement", "这个病不能彻底治愈，欢迎您再来咨询。"),
    ("advertisement", "这几个药都可以吃，只是加我开的两个药就好了。"),
    ("disclaimer", "人工智能语言模型可以辅助医生阅片，但不能代替医生。"),
    ("disclaimer", LONG * 2 + "作为一个AI模型，我不能代替医生。"),
    ("encoding_junk", "每天烫烫脚；“etelä”（南），café “naïve”，“à”。"),
    ("language", "α-干扰素 β受体阻滞剂，HBV-DNA 阳性，Helicobacter pylori 感染，建议复查。"),
    ("language", "Take 500 mg of paracetamol twice a day and drink plenty of water."),
    ("links", "以上说法见世界卫生组织的说明，其中讲了流感疫苗的接种对象和间隔。https://www.who.int/x"),
    ("repetition", LONG),
    ("repetition", "乙肝大三阳和乙肝小三阳都需要复查乙肝两对半，乙肝病毒携带者"
     "每半年复查一次肝功能，乙肝疫苗可以预防乙肝病毒。"),
    ("symbols", "WBC 12.5×10⁹/L，N 85%，Hb 110 g/L，PLT 230×10⁹/L，CRP 45 mg/L，ALT 38 U/L，肌酐 88 μmol/L。"),
    ("symbols", "| 项目 | 值 |\n|---|---|\n| 12 | 34 |\n| 56 | 78 |\n| 90 | 12 |\n| 34 | 56 |"),
    ("too_short", "B"),
    ("unfinished", LONG),
    ("unfinished", "不客气，"),
    ("copied_answer", "胃不舒服要做胃镜。"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), REMOVED)
def test_removed(name: str, answer: str) -> None:
    detail = judged(name, conversation(answer))
    assert detail
    assert judged(name, Preference(conversation("").messages[:1], answer, answer, ORIGIN))
    assert judged(name, rating(answer, good=True)) == detail


@pytest.mark.parametrize(("name", "answer"), KEPT)
def test_kept(name: str, answer: str) -> None:
    assert judged(name, conversation(answer)) is None
    assert judged(name, rating(answer, good=True)) is None


@pytest.mark.parametrize(
    "name", ["advertisement", "repetition", "symbols", "too_short", "unfinished", "disclaimer"]
)
def test_a_worse_answer_may_be_bad(name: str) -> None:
    bad = next(answer for each, answer in REMOVED if each == name)
    assert judged(name, Preference(conversation("").messages[:1], LONG, bad, ORIGIN)) is None
    assert judged(name, rating(bad, good=False)) is None


def test_a_bad_answer_is_still_one_that_can_be_read() -> None:
    assert judged("encoding_junk", rating("锟斤拷锟斤拷多休息", good=False))
    assert judged("length", rating("长" * 20_001, good=False))
    assert judged("empty", rating(" ", good=False)) and not judged("empty", rating("好", good=False))


def test_calls_are_no_short_or_empty_answers() -> None:
    calls = (ToolCall("price", {"drug": "布洛芬"}),)
    asked, called = Message("user", "布洛芬多少钱？"), Message("assistant", "", tool_calls=calls)
    records: list[Record] = [kind((asked, called), ORIGIN) for kind in (Conversation, Rating)]
    records.append(Preference((asked,), "", LONG, ORIGIN, chosen_calls=calls))
    records.append(Preference((asked,), LONG, "", ORIGIN, rejected_calls=calls))
    records.append(Preference((asked, called, Message("tool", "")), LONG, "不知道。", ORIGIN))
    found = [judged(name, record) for record in records for name in ("empty", "too_short")]
    assert found == [None] * len(found)
    assert judged("empty", Preference((asked,), LONG, "", ORIGIN))
    assert judged("empty", Preference((asked,), "", LONG, ORIGIN))


def test_only_what_is_trained_is_an_answer() -> None:
    record = Conversation(
        (
            Message("user", "一"),
            Message("assistant", "？", train=False),
            Message("user", "二"),
            Message("assistant", "好"),
        ),
        ORIGIN,
    )
    assert learned(record) == ("好",)
    assert exchanges(record) == (("二", "好"),)


def test_copied_answers() -> None:
    question = "我最近胃不舒服， 应该怎么办？"
    assert judged("copied_answer", conversation("我最近胃不舒服，应该怎么办。", question))
    assert judged("copied_answer", conversation("谢谢", "谢谢")) is None


def test_disclaimers_where_they_belong() -> None:
    answer = "作为一个AI助手，我没有感情。"
    assert judged("disclaimer", conversation(answer, "你是谁？")) is None
    assert judged("disclaimer", conversation(answer, "你难过吗？"))
    tools = ({"type": "function", "function": {"name": "price"}},)
    told = conversation("很抱歉，作为一个AI，我无法预订机票。").messages
    assert judged("disclaimer", Conversation(told, ORIGIN, tools=tools)) is None


def test_empty() -> None:
    assert judged("empty", conversation(""))
    assert judged("empty", conversation("好", " "))
    assert judged("empty", conversation("好")) is None


def test_language_by_wish() -> None:
    chinese, english = (
        conversation(LONG),
        conversation("Take one tablet twice a day.", "I have a fever, what now?"),
    )
    assert judged("language", chinese, wanted=["en"]) == "is zh (100% Chinese)"
    assert judged("language", english, wanted=["zh"]) == "is en (0% Chinese)"
    assert judged("language", english, wanted=["en"]) is None
    assert judged("language", conversation("嗯", "ok"), wanted=["en"]) is None


def test_length() -> None:
    assert (
        judged("length", conversation("长" * 20_001))
        == "assistant: 20,001 characters, at most 20,000 are wanted"
    )
    assert judged("length", Document("长" * 100_000, ORIGIN)) is None
    assert judged("length", Document("长" * 100, ORIGIN), document=99)


def test_markup() -> None:
    assert judged("markup", conversation("<p>好</p>"))
    assert judged("markup", conversation("ALB<35g/L，A/G<1.0")) is None
    assert judged("markup", conversation("<p>好</p>", "写一段HTML")) is None


def test_mismatch() -> None:
    asked = "高血压患者每天早上起来头晕眼花，血压一百六，吃了降压片还是没有下降，请问需要换成别的吗"
    answer = "宝宝腹泻要先看大便性状，注意补充口服补液盐，母乳喂养继续进行，必要时化验轮状病毒抗原"
    assert judged("mismatch", conversation(answer, asked))
    assert judged("mismatch", conversation(asked[::-1] + "高血压", asked)) is None


def test_unfinished_judges_the_last_answer() -> None:
    turns = [
        Message("user", "一"),
        Message("assistant", LONG[:-1] + "，"),
        Message("user", "继续"),
        Message("assistant", LONG),
    ]
    assert judged("unfinished", Conversation(tuple(turns), ORIGIN)) is None
    assert judged("unfinished", Conversation(tuple(turns[:2]), ORIGIN))
    no_stop = conversation(LONG[:-1])
    assert judged("unfinished", no_stop) is None and judged("unfinished", no_stop, strict=True)


def test_documents() -> None:
    assert judged("too_short", Document("第二章 病毒性传染病", ORIGIN))
    assert judged("repetition", Document(LONG * 100, ORIGIN))
    assert judged("encoding_junk", Document("病" * 5000 + "\ufffd", ORIGIN)) is None


@pytest.mark.parametrize(
    "topic",
    ["阳痿早泄", "阴道炎白带", "包皮手术", "性生活后出血", "流产", "梅毒", "自杀", "乳房胀痛", "肛门瘙痒"],
)
def test_no_topic_counts_against_a_record(topic: str) -> None:
    record = conversation(f"{topic}是常见的问题，{LONG}", f"医生，{topic}怎么办？")
    assert not any(judged(name, record) for name in plugins.names(PACKAGE))
