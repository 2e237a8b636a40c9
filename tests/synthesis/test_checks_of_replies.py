"""Facts that must survive, answers that refuse, texts that nobody else can understand."""

import pytest

from xinglin.synthesis.checks import (
    bare,
    check_answer,
    check_grounded,
    check_language,
    check_standalone,
    supported,
    unwrapped,
)
from xinglin.synthesis.facts import drugs, lost_facts, new_facts, numbers
from xinglin.synthesis.novelty import Novelty
from xinglin.synthesis.task import Rejected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("每次0.50g，一日3次", {"0.5", "3"}),
        ("每次两片，每日三次，十天为一疗程", {"2", "3", "10"}),
        ("每日一次，一周后复查", {"1"}),
        ("1. 休息\n2）多饮水\n（3）复查", set()),
        ("1,500mg daily", {"1500"}),
        ("第一次就诊，这是一般情况", set()),
        ("血压140/90mmHg", {"140", "90"}),
        ("５毫克", {"5"}),
        ("1.5 mg", {"1.5"}),
        ("每次十五毫克，连用二十天，三十岁以上一百二十粒", {"15", "20", "30", "120"}),
        ("两千毫升，五千克，一百零五天，三十五千克", {"2000", "5", "105", "35"}),
        ("青霉素2400001单位", {"2400001"}),
        ("百日咳，八十年代，第十五天，十分小心", set()),
    ],
)
def test_numbers(text, found):
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("请服用阿莫西林和左氧氟沙星", {"莫西林", "氟沙星"}),
        ("用红霉素、螺内酯、格列美脲", {"红霉素", "螺内酯", "格列美脲"}),
        ("阿司匹林或布洛芬", {"阿司匹林", "布洛芬"}),
        ("Take Amoxicillin, metformin and lisinopril in April.", {"amoxicillin", "metformin", "lisinopril"}),
        ("多休息，查血常规和胆固醇 cholesterol", set()),
        ("请大夫定方案，丈夫定期检查，让他定时服药，安静地平卧，想方法辛苦锻炼", set()),
        ("拉米夫定和氯雷他定，硝苯地平片，文拉法辛", {"米夫定", "雷他定", "苯地平", "拉法辛"}),
    ],
)
def test_drugs(text, found):
    assert drugs(text) == found


def reason_of(check, *texts, **options):
    """Why ``check`` rejects, or None."""
    try:
        check(*texts, **options)
    except Rejected as rejected:
        return rejected.reason
    return None


def test_facts_are_lost_and_added():
    before = "口服阿莫西林，每次0.5克，每日3次，疗程7天。"
    assert lost_facts(before, "阿莫西林胶囊每次0.50克，每天3次，连服7天，多喝水。") == []
    assert lost_facts(before, "阿莫西林每次0.5克，每日3次。") == ["7"]
    assert lost_facts(before, "请按说明书服药。") == ["0.5", "3", "7", "莫西林"]
    assert new_facts(before, "口服阿莫西林，每次0.5克，一日3次，疗程7天，另加布洛芬。") == ["布洛芬"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("很抱歉，我无法回答这个问题。", "refusal"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("作为一个人工智能语言模型，我不能提供医疗建议，请咨询医生。", "disclaimer"),
        ("As an AI language model, I cannot diagnose you.", "disclaimer"),
        ("首先多休息，其次注意饮食，", "unfinished"),
        ("很抱歉听到您不舒服，建议先休息。", None),
        ("我无法仅凭描述判断，建议查血常规。", None),
        ("I am sorry to hear that. Rest and drink water.", None),
    ],
)
def test_answers_that_are_none(answer, reason):
    assert reason_of(check_answer, "感冒怎么办？", answer) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("根据上述文本，高血压怎么治？", "question_refers_to_text"),
        ("本文提到的药有哪些？", "question_refers_to_text"),
        ("文中的病人怎么了？", "question_refers_to_text"),
        ("What does the passage say?", "question_refers_to_text"),
        ("请提供以下信息：年龄、病程。", None),
        ("根据您的描述，考虑感冒。", None),
        ("In the context of sepsis, give fluids.", None),
    ],
)
def test_what_refers_to_a_text(text, reason):
    assert reason_of(check_standalone, text, what="question") == reason


def test_support_is_a_share_of_pairs_and_words():
    assert supported("高血压患者", "高血压患者要低盐") == 1
    assert supported("高血压患者", "感冒多喝水") == 0
    assert supported("高血压低盐", "高血压，低盐") == pytest.approx(3 / 4)
    assert supported("drink water often", "often drink water") == 1
    assert supported("", "x") == 1
    check_grounded("低盐饮食", ["高血压患者宜低盐饮食"], support=0.9)
    with pytest.raises(Rejected, match="ungrounded_fact"):
        check_grounded("低盐饮食，每天5克", ["高血压患者宜低盐饮食"], support=0.1)


def test_languages():
    check_language("高血压（hypertension）怎么办？", chinese=True)
    with pytest.raises(Rejected):
        check_language("How to treat it?", chinese=True)
    with pytest.raises(Rejected):
        check_language("怎么办", chinese=False)


def test_wrappings_come_off():
    assert unwrapped("```\n问题：高血压怎么办？\n```") == "高血压怎么办？"
    assert unwrapped("**回答**：低盐。") == "低盐。"
    assert unwrapped("“多喝水。”") == "多喝水。"
    assert unwrapped("“多喝水”和“休息”") == "“多喝水”和“休息”"
    assert bare("  高血压，怎么办？") == bare("高血压怎么办")


def test_novelty_is_rouge_l():
    novelty = Novelty(0.7, ["高血压患者能不能吃鸡蛋"])
    assert not novelty.add("高血压患者能不能吃鸭蛋")
    assert not novelty.add("高血压患者可不可以吃鸡蛋") and novelty.add("糖尿病人如何运动")
    assert not novelty.add("糖尿病人如何运动？")
    assert novelty.add("How do I treat a cold?") and not novelty.add("how do i treat a cold")


def test_novelty_compares_as_its_definition_says():
    import random

    from rouge_chinese import Rouge

    dice, words = random.Random(3), list("高血压糖尿病怎么办吃药")
    texts = ["".join(dice.choices(words, k=dice.randint(3, 9))) for _ in range(60)]
    for threshold in (0.4, 0.7):
        kept, novelty = [], Novelty(threshold)
        for text in texts:
            scores = [Rouge().get_scores(" ".join(text), " ".join(old))[0]["rouge-l"]["f"] for old in kept]
            new = all(score < threshold - 1e-6 for score in scores)
            assert novelty.add(text) == new, (text, kept)
            kept += [text] * new
