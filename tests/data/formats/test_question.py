"""Exam questions: the shapes of CMB, CMMLU, MedQA and MedMCQA, and answers that must not be guessed."""

import pytest

TEXTS = {"A": "病毒", "B": "细菌", "C": "真菌", "D": "支原体"}
ASKED = "感冒最常见的病原体是"


@pytest.mark.parametrize(
    "row",
    [
        {"question": ASKED, "options": TEXTS, "answer": "B"},
        {"question": ASKED, "options": TEXTS, "answer": "b"},
        {"question": ASKED, "options": TEXTS, "answer": ["B"]},
        {"question": ASKED, "options": TEXTS, "answer": "细菌"},
        {"question": ASKED, "options": TEXTS, "answer": "细菌", "answer_idx": "B"},
        {"question": ASKED, "options": list(TEXTS.values()), "answer": "细菌"},
        {
            "question": ASKED,
            "options": [f"{letter}. {text}" for letter, text in TEXTS.items()],
            "answer": "B",
        },
        {"question": ASKED, "option": {**TEXTS, "E": ""}, "answer": "B"},
        {"Question": ASKED, **TEXTS, "Answer": "B"},
    ],
)
def test_one_question_in_many_shapes(read_rows, row):
    [record] = read_rows([row], kind="question").records
    assert (record.question, dict(record.options), record.answer, dict(record.meta)) == (
        ASKED,
        TEXTS,
        "B",
        {},
    )


@pytest.mark.parametrize(
    "answer", ["DA", "A,D", "A、D", ["D", "A"], "ａｄ".translate({0xFF41: "a", 0xFF44: "d"})]
)
def test_several_right_answers(read_rows, answer):
    assert read_rows([{"question": ASKED, "options": TEXTS, "answer": answer}]).records[0].answer == "AD"


def test_letters_that_are_also_texts(read_rows):
    """Blood groups: options named by letters are answered by letter, listed ones by text."""
    blood = ["O", "A", "AB", "B"]
    named = {"question": "血型", "options": dict(zip("ABCD", blood, strict=True)), "answer": "AB"}
    listed = {"question": "血型", "options": blood, "answer": "AB"}
    assert [record.answer for record in read_rows([named, listed]).records] == ["AB", "C"]


@pytest.mark.parametrize(("first", "cop"), [(0, 1), (1, 2), (1, "2")])
def test_numbered_answers_need_to_know_where_counting_starts(read_rows, first, cop):
    row = {
        "question": ASKED,
        "opa": "病毒",
        "opb": "细菌",
        "opc": "真菌",
        "opd": "支原体",
        "cop": cop,
        "exp": "因为",
    }
    [record] = read_rows([row], format="question", options={"first_option": first}).records
    assert (dict(record.options), record.answer, dict(record.meta)) == (TEXTS, "B", {"exp": "因为"})
    good = {"question": ASKED, "options": TEXTS, "answer": "B"}
    assert read_rows([good, row]).reasons == {"ambiguous_answer": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": ""}, "no_answer"),
        ({"answer": None}, "no_answer"),
        ({"answer": "nan"}, "bad_answer"),
        ({"answer": "E"}, "bad_answer"),
        ({"answer": "细菌", "answer_idx": "A"}, "bad_answer"),
        ({"options": {"A": "病毒", "B": " "}, "answer": "A"}, "bad_options"),
        ({"options": {"one": "病毒", "two": "细菌"}, "answer": "one"}, "bad_options"),
        ({"options": ["病毒"] * 27}, "bad_options"),
        ({"question": " "}, "empty"),
        ({"question": None}, "unknown_format"),
    ],
)
def test_reasons(read_rows, change, reason):
    good = {"question": ASKED, "options": TEXTS, "answer": "B"}
    assert read_rows([good, {**good, **change}]).reasons == {reason: 1}


@pytest.mark.parametrize(
    ("file", "used", "reasons"),
    [
        ("cmexam/val.normalized.jsonl", 6810, {"bad_answer": 1}),  # one answer is "nan"
        ("cmmlu_medical/test/genetics.csv", 176, {}),
        ("medqa_usmle/phrases_no_exclude_test.jsonl", 1273, {}),
        ("mmedbench_tiny/mmedbench-02-chinese-tiny.jsonl", 685, {}),
    ],
)
def test_real_files(shared, read_source, file, used, reasons):
    reading = read_source(shared / "eval" / file, kind="question")
    assert (reading.account.rows_used, reading.reasons) == (used, reasons)
