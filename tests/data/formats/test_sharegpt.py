"""ShareGPT conversations, from and value."""

import pytest


def turns(*pairs):
    return [{"from": speaker, "value": text} for speaker, text in pairs]


@pytest.mark.parametrize("key", ["conversations", "conversation"])
def test_roles_system_key_and_system_message(read_rows, key):
    first = {key: turns(("human", "头疼"), ("gpt", "多久了？")), "system": "你是医生。", "id": 7}
    second = {key: turns(("system", "你是医生。"), ("user", "头疼"), ("assistant", "多久了？"))}
    one, two = read_rows([first, second]).records
    assert one.messages == two.messages
    assert [message.role for message in one.messages] == ["system", "user", "assistant"]
    assert dict(one.meta) == {"id": 7}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"conversations": []}, "empty"),
        ({"conversations": turns(("human", "头疼"))}, "no_answer"),
        ({"conversations": turns(("human", "头疼"), ("human", "三天"), ("gpt", "嗯"))}, "bad_roles"),
        ({"conversations": turns(("human", "天气"), ("function_call", "{}"), ("gpt", "晴"))}, "tool_use"),
        ({"conversations": turns(("human", "天气"), ("gpt", "晴")), "tools": '[{"name": "f"}]'}, "tool_use"),
        ({"conversations": turns(("system", "a"), ("human", "b"), ("gpt", "c")), "system": "d"}, "bad_roles"),
        ({"conversations": turns(("human", "头疼"), ("gpt", "嗯")), "chosen": "x"}, "unknown_format"),
    ],
)
def test_reasons(read_rows, row, reason):
    good = {"conversations": turns(("human", "a"), ("gpt", "b"))}
    assert read_rows([good, row]).reasons == {reason: 1}


def test_repair_of_unanswered(read_rows):
    row = {"conversations": turns(("human", "头疼"), ("gpt", "嗯"), ("human", "谢谢"))}
    reading = read_rows([row], format="sharegpt", options={"unanswered": "drop"})
    assert len(reading.records[0].messages) == 2
    assert reading.account.repairs == {"unanswered_dropped": 1}


def test_real_files(shared, read_source):
    folder = shared / "train" / "medicalgpt"
    sft = read_source(folder / "medical_sft_1K_format.jsonl", kind="conversation")
    assert (sft.account.rows_used, sft.reasons) == (1000, {})
    general = read_source(folder / "sharegpt_zh_1K_format.jsonl")
    assert (general.account.rows_used, general.reasons) == (992, {"no_answer": 7, "empty_message": 1})
