"""The rules that look at the form of an answer."""

import pytest
from pydantic import ValidationError
from reward_toys import config, sample, score

from xinglin.rewards.repetition import repeated_share


def test_repetition_counts_words_and_chinese_characters() -> None:
    assert repeated_share("发热 发热 发热", ngram=2) == pytest.approx(1 - 2 / 5)
    assert repeated_share("take it take it take it", ngram=2) == pytest.approx(1 - 2 / 5)
    assert repeated_share("多休息", ngram=5) == repeated_share("", ngram=1) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("高血压患者应低盐饮食，规律服用氨氯地平，每天测量血压，头晕加重请到心内科就诊。", 0.0),
        ("Take paracetamol for the fever, drink water, rest, and see a doctor if it lasts three days.", 0.0),
        ("请多喝水，" * 40, -0.96),
        ("see a doctor and " * 40, -0.96),
    ],
)
def test_repetition(answer: str, expected: float) -> None:
    assert score("repetition", sample("问", answer)) == pytest.approx(expected, abs=0.04)


def test_length_has_soft_edges() -> None:
    options = {"shortest": 10, "longest": 100, "edge": 0.5}
    found = [score("length", sample("问", "字" * n), **options) for n in (0, 5, 10, 100, 125, 150, 999)]
    assert found == pytest.approx([-1, -0.5, 0, 0, -0.5, -1, -1])
    assert score("length", sample("问", "<think>" + "想" * 500 + "</think>" + "答" * 20), **options) == 0
    with pytest.raises(ValidationError, match="shortest is more than longest"):
        config("length", shortest=10, longest=9)


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("发烧怎么办？", "多喝水，可以服用对乙酰氨基酚。", 0),
        ("发烧怎么办？", "Drink water and take paracetamol.", -1),
        ("How do I treat a fever?", "多喝水，可以服用对乙酰氨基酚。", -1),
        ("How do I treat a fever?", "Drink water and take paracetamol.", 0),
        ("高血压用什么药？", "首选amlodipine（氨氯地平）或enalapril，CT和MRI不是必需的。", 0),
        ("请把“多喝水”翻译成英文。", "Drink plenty of water.", 0),
        ("Say it in Chinese: rest well.", "好好休息。", 0),
        ("应该选哪一项？", "B", 0),
        ("I have a fever", "", 0),
        ("熱がありますがどうすればいいですか", "Please drink water.", 0),
        ("写一个函数", "如下：\n```python\ndef greet(name): return hello\n```", 0),
    ],
)
def test_language(question: str, answer: str, expected: float) -> None:
    assert score("language", sample(question, answer)) == expected


def test_half_in_the_wrong_language_is_half_as_bad() -> None:
    mixed = score("language", sample("发烧怎么办？", "多喝水 drink some water"))
    assert mixed == pytest.approx(-(1 - 0.5 / 0.6))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("请多喝水。", 0),
        ("Drink water.", 0),
        ("Is it getting worse?", 0),
        ("阿莫西林", 0),
        ("B", 0),
        ("建议：\n1. 多喝水\n2. 卧床休息并且每天早晚各测量一次体温和血压然后记录下来", 0),
        ("建议您先到医院呼吸内科就诊，完善胸部CT和血常规，", -0.5),
        ("建议您先到医院呼吸内科就诊，完善胸部CT和血常规再决定是否需要使用", -0.5),
        ("You should see a doctor as soon as possible and take", -0.5),
        ("", -1),
        ("<think>胸痛可能是心梗", -1),
        ("<think>胸痛可能是心梗</think>请立即拨打120。", 0),
    ],
)
def test_unfinished(answer: str, expected: float) -> None:
    assert score("unfinished", sample("问", answer)) == expected


def test_what_was_cut_off_is_unfinished_whatever_it_ends_on() -> None:
    assert score("unfinished", sample("问", "请多喝水。", finish="length")) == -1


@pytest.mark.parametrize(
    "answer",
    [
        "多喝水。<|im_end|>",
        "多喝水。<|eot_id|><|start_header_id|>user",
        "[INST] 发烧 [/INST] 多喝水。",
        "多喝\ufffd水。",
        "多喝水。</s>",
        "[gMASK]<sop>多喝水。",
        "多喝水。\n用户：那饮食呢？",
        "Rest.\nHuman: and then?\nAssistant: sleep.",
        "### Instruction: answer\nRest.",
        "多喝水。\nuser\n那饮食呢",
        "多喝水。<start_of_turn>model",
    ],
)
def test_template_leakage(answer: str) -> None:
    assert score("template_leakage", sample("问", answer)) == -1


@pytest.mark.parametrize(
    "answer",
    [
        "多喝水，体温<38.5°C不用退烧药；若>39°C请就诊。",
        "血压：140/90 mmHg\n医生建议：低盐饮食",
        "For the user of an inhaler: rinse your mouth.",
        "BMI < 18.5 | 18.5–24 | > 24",
        "<think>想一想</think><answer>B</answer>",
    ],
)
def test_plain_text_leaks_nothing(answer: str) -> None:
    assert score("template_leakage", sample("问", answer)) == 0


def test_phrases_of_ones_own_are_leaks_too() -> None:
    answer = sample("问", "作为AI模型，我不能看病。")
    assert score("template_leakage", answer) == 0
    assert score("template_leakage", answer, phrases=["作为ai"]) == -1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<think>先排除B。\n再看A。</think>\n<answer>A</answer>", 0),
        ("<think> </think><answer>A</answer>", -1),
        ("<think>想</think><answer></answer>", -1),
        ("<think>想</think>A", -1),
        ("答：<think>想</think><answer>A</answer>", -1),
        ("<think>想</think><answer>A</answer><answer>B</answer>", -1),
        ("<think>想<think>想</think><answer>A</answer>", -1),
    ],
)
def test_format(answer: str, expected: float) -> None:
    assert score("format", sample("问", answer)) == expected


def test_a_pattern_of_ones_own() -> None:
    assert score("format", sample("问", "诊断：感冒\n科室：内科"), pattern="诊断：.+科室：.+") == 0
    with pytest.raises(ValidationError, match="is no regular expression"):
        config("format", pattern="(")
