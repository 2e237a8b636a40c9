"""Alpaca rows, with history and system, and with values in lists."""

import pytest


def test_instruction_and_input(read_rows):
    rows = [
        {"instruction": "给出建议。", "input": "感冒三天", "output": "多休息"},
        {"instruction": "感冒怎么办", "input": "", "output": "多喝水", "id": 3},
        {"instruction": "感冒怎么办", "input": None, "output": "多喝水"},
    ]
    contents = [[message.content for message in record.messages] for record in read_rows(rows).records]
    assert contents == [
        ["给出建议。\n感冒三天", "多休息"],
        ["感冒怎么办", "多喝水"],
        ["感冒怎么办", "多喝水"],
    ]


@pytest.mark.parametrize("train_history", [False, True])
def test_history_is_trained_only_on_request(read_rows, train_history):
    row = {
        "instruction": "要吃药吗",
        "input": "",
        "output": "不用",
        "history": [["感冒", "多久了"]],
        "system": "你是医生。",
    }
    options = {"train_history": train_history}
    [record] = read_rows([row], format="alpaca", options=options).records
    assert [message.role for message in record.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [message.train for message in record.messages if message.role == "assistant"] == [
        train_history,
        True,
    ]


def test_lists_of_one(read_rows):
    """The form of Zhongjing's huatuo26M_test.json."""
    row = {"id": "", "instruction": ["用盐泡脚可以吗"], "input": "", "output": ["可以"]}
    [record] = read_rows([row]).records
    assert [message.content for message in record.messages] == ["用盐泡脚可以吗", "可以"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "感冒", "output": ""}, "no_answer"),
        ({"instruction": "感冒", "output": None}, "no_answer"),
        ({"instruction": " ", "input": "", "output": "好"}, "empty_message"),
        ({"instruction": "感冒", "output": {"a": 1}}, "not_text"),
        ({"instruction": "感冒", "output": "好", "history": [["只有问"]]}, "bad_history"),
        ({"instruction": "感冒", "output": "好", "history": "无"}, "bad_history"),
        ({"instruction": "感冒"}, "unknown_format"),
    ],
)
def test_reasons(read_rows, row, reason):
    assert read_rows([{"instruction": "a", "output": "b"}, row]).reasons == {reason: 1}


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("huatuo-bencao/llama_data.json", 8658),  # JSON Lines in .json
        ("zhongjing/huatuo26M_test.json", 6000),
        ("chatdoctor/chatdoctor5k.json", 5452),
        ("llamafactory-demo/alpaca_zh_demo.json", 1000),
    ],
)
def test_real_files(shared, read_source, file, rows):
    reading = read_source(shared / "train" / file, kind="conversation")
    assert (reading.account.rows_used, reading.reasons) == (rows, {})
    assert reading.account.formats == {"alpaca": rows}
