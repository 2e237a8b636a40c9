"""The extractor reads what a text commits to, and abstains where it commits to nothing."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.evaluate.extraction import extract, final_answer

ZH = {"A": "红霉素", "B": "四环素", "C": "青霉素", "D": "B型钠尿肽", "E": "2 mg"}
EN = {"A": "aspirin", "B": "hepatitis B virus", "C": "metformin", "D": "12 mg"}
GOLD = Path(__file__).parents[2] / "../shared/data/eval/extraction_gold/labelled_outputs.jsonl"


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("C", "C"),
        ("c", "C"),
        ("（C）。", "C"),
        ("Ｃ", "C"),
        ("ACD", "ACD"),
        ("D、A、C", "ACD"),
        ("C. 青霉素", "C"),
        ("C、青霉素对梅毒最有效。", "C"),
        ("答案是C。", "C"),
        ("答案：C", "C"),
        ("【答案】C", "C"),
        ("正确答案为选项C，因为它安全。", "C"),
        ("正确的答案应该是：\n\nC：青霉素", "C"),
        ("**答案：C**", "C"),
        ("故选C。", "C"),
        ("综上，选C", "C"),
        ("应选择A和C。", "AC"),
        ("选项C“青霉素”是正确的答案。", "C"),
        ("因此C是正确答案。", "C"),
        ("不是红霉素，而用青霉素。", "C"),
        ("治疗首选的药物是C：青霉素。", "C"),
        ("初步判断答案是A。再想想，答案是C。", "C"),
        ("不选A，应选C。", "C"),
        ("A：错误。\nB：错误。\nC：正确。\n所以答案是C。", "C"),
        ("孕妇应使用青霉素。", "C"),
        ("虽然红霉素可用，但首选药物是青霉素，四环素禁用。", "C"),
        ("正确答案：B型钠尿肽", "D"),
        ("每次2 mg", "E"),
    ],
)
def test_chinese_answers(text: str, letters: str) -> None:
    assert extract(text, ZH) == letters


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The answer is C.", "C"),
        ("ANSWER: **C**", "C"),
        ("Answer: (C) metformin", "C"),
        (r"The correct answer is \boxed{\text{C}}.", "C"),
        ("The correct option is C because it lowers glucose.", "C"),
        ("Option C is the correct answer.", "C"),
        ("(C) metformin", "C"),
        ("I would go with C.", "C"),
        ("The answers are A and C.", "AC"),
        ("The answer is A. On reflection, the answer is C.", "C"),
        ("The first-line drug is metformin, not aspirin.", "C"),
        ("Give aspirin.", "A"),
        ("The cause is hepatitis B virus.", "B"),
        ("<think>The answer is A?</think>The answer is C.", "C"),
    ],
)
def test_english_answers(text: str, letters: str) -> None:
    assert extract(text, EN) == letters


@pytest.mark.parametrize(
    "text",
    [
        "",
        "请尽快就医。",
        "Let's think about all of the options.",
        "the answer is a rare disease",
        "答案是A或B。",
        "The answer is A or B.",
        "不选A。",
        "答案不是A。",
        "答案不是四环素。",
        "答案" + ": " * 300,
        "The answer is " + "(( : " * 300,
        "The answer is not B.",
        "血型是B型。",
        "做B超检查。",
        "维生素A和维生素D都重要。",
        "A：红霉素\nB：四环素\nC：青霉素",
        "A：红霉素B：四环素C：青霉素",
        "红霉素和青霉素都可以。",
        "A 45-year-old woman was seen.",
        "E. coli grows in the culture.",
        "每次12 mg",
        "<think>The answer is A, but",
    ],
)
def test_abstains(text: str) -> None:
    assert extract(text, ZH) == ""


@given(st.text(alphabet="ABCDE答案是选项不或、，。:：( )\nanswer is青霉素的", max_size=40))
def test_gives_letters_of_the_options_in_order(text: str) -> None:
    letters = extract(text, ZH)
    assert set(letters) <= set(ZH)
    assert list(letters) == sorted(set(letters))


@given(
    st.sampled_from(sorted(ZH)), st.sampled_from(["答案是{}。", "选{}", "The answer is {}.", "({})", "{}"])
)
def test_reads_every_letter(letter: str, form: str) -> None:
    assert extract(form.format(letter), ZH) == letter


def test_final_answer_drops_reasoning() -> None:
    assert final_answer("plain") == "plain"
    assert final_answer("<think>because</think>\n\ntake it") == "take it"
    assert final_answer("because</think>take it") == "take it"
    assert final_answer("<think>because") == ""


@pytest.mark.skipif(not GOLD.exists(), reason="the labelled outputs are not part of the repository")
def test_labelled_outputs_of_real_models() -> None:
    rows = [json.loads(line) for line in GOLD.read_text(encoding="utf-8").splitlines()]
    clear = [row for row in rows if not row["ambiguous"]]
    found = [
        extract(row["output"], dict(re.findall(r"^([A-H])：(.*)$", row["question"], re.M))) for row in clear
    ]
    pairs = [(row["label"], letters) for row, letters in zip(clear, found, strict=True)]
    committed = [letters == label for label, letters in pairs if label]
    invented = [letters != "" for label, letters in pairs if not label]
    assert (len(committed), len(invented)) == (39, 17)
    assert sum(committed) / len(committed) >= 0.95
    assert sum(invented) / len(invented) <= 0.06
