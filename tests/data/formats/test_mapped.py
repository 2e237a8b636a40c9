"""Five lines of YAML read a shape that nobody has seen."""

import pytest
from pydantic import ValidationError

from xinglin.data.sources import Source

ROW = {"提问": "头痛三天了", "科室": "神经内科", "回复": "先测血压。", "页": {"备注": "复诊"}, "分": 3}


def one(read_rows, row, **options):
    [record] = read_rows([row], format="mapped", options=options).records
    return record


def test_a_conversation(read_rows):
    record = one(read_rows, ROW, user=["科室", "提问"], assistant="回复", system="页.备注", meta=["分"])
    assert [(m.role, m.content) for m in record.messages] == [
        ("system", "复诊"),
        ("user", "神经内科\n头痛三天了"),
        ("assistant", "先测血压。"),
    ]
    assert dict(record.meta) == {"分": 3}
    assert set(one(read_rows, ROW, user="提问", assistant="回复").meta) == {"科室", "页", "分"}


def test_a_dialogue_with_speakers_of_its_own(read_rows):
    row = {"对话": [{"谁": "患者", "说": "头痛"}, {"谁": "医生", "说": "多久了"}], "编号": 1}
    roles = {"患者": "user", "医生": "assistant"}
    record = one(read_rows, row, messages="对话", role="谁", content="说", roles=roles)
    assert [(m.role, m.content) for m in record.messages] == [("user", "头痛"), ("assistant", "多久了")]
    assert dict(record.meta) == {"编号": 1}


def test_documents_preferences_and_questions(read_rows):
    assert one(read_rows, ROW, text=["提问", "回复"]).text == "头痛三天了\n先测血压。"
    pair = one(
        read_rows, {"q": "头痛", "good": "就医", "bad": "忍着"}, user="q", chosen="good", rejected="bad"
    )
    assert (pair.chosen, pair.rejected) == ("就医", "忍着")
    rows = [
        ({"题": "q", "甲": "a", "乙": "b", "答": "B"}, ["甲", "乙"], {}),
        ({"题": "q", "选": "A. a\nB. b", "答": "b"}, "选", {}),
        ({"题": "q", "选": ["a", "b"], "答": 1}, "选", {"first_option": 0}),
        ({"题": "q", "选": {"A": "a", "B": "b"}, "答": ["B"]}, "选", {}),
    ]
    for row, choices, more in rows:
        question = one(read_rows, row, question="题", choices=choices, answer="答", **more)
        assert (dict(question.options), question.answer) == ({"A": "a", "B": "b"}, "B")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"q": "头痛"}, "missing_column"),
        ({"q": "头痛", "a": ""}, "no_answer"),
        ({"q": "头痛", "a": {"b": 1}}, "not_text"),
        ({"q": "", "a": "就医"}, "empty_message"),
        ({"q": "头痛", "a": "https://example.org/1"}, "link_answer"),
        (["头痛", "就医"], "wrong_format"),
    ],
)
def test_reasons(read_rows, row, reason):
    good = {"q": "头痛", "a": "就医"}
    options = {"user": "q", "assistant": "a"}
    assert read_rows([good, row], format="mapped", options=options).reasons == {reason: 1}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user": "q"},
        {"user": "q", "assistant": "a", "text": "t"},
        {"messages": "m", "user": "q"},
        {"user": "q", "assistant": "a", "chosen": "c", "rejected": "r"},
    ],
)
def test_options_name_one_kind_of_record(options):
    with pytest.raises(
        ValidationError, match="name the columns of one kind of record: user, chosen, rejected;"
    ):
        Source(path="rows.jsonl", format="mapped", options=options)


def test_mapped_is_never_detected(read_rows):
    assert read_rows([{"text": "x"}, {"a": 1}]).reasons == {"unknown_format": 1}
