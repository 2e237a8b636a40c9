"""ShareGPT conversations, from and value."""

import pytest

from xinglin.data.records import Message, ToolCall

CALL = '{"name": "get_weather", "arguments": {"city": "北京", "days": 2}}'


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
        (
            {"conversations": turns(("human", "天气"), ("function_call", "{}"), ("gpt", "晴"))},
            "bad_tool_call",
        ),
        ({"conversations": turns(("human", "天气"), ("function_call", CALL), ("gpt", "晴"))}, "bad_roles"),
        ({"conversations": turns(("human", "天气"), ("gpt", "晴"), ("observation", "1"))}, "bad_roles"),
        ({"conversations": turns(("human", "天气"), ("gpt", "晴")), "tools": "get_weather"}, "bad_tools"),
        ({"conversations": turns(("human", "天气"), ("gpt", "晴")), "tools": [{"type": "f"}]}, "bad_tools"),
        ({"conversations": turns(("system", "a"), ("human", "b"), ("gpt", "c")), "system": "d"}, "bad_roles"),
        ({"conversations": turns(("human", "头疼"), ("gpt", "嗯")), "chosen": "x"}, "unknown_format"),
    ],
)
def test_reasons(read_rows, row, reason):
    good = {"conversations": turns(("human", "a"), ("gpt", "b"))}
    assert read_rows([good, row]).reasons == {reason: 1}


def test_tools_calls_and_results(read_rows):
    row = {
        "conversations": turns(
            ("human", "天气"), ("function_call", CALL), ("observation", '{"t": 28}'), ("gpt", "28 度")
        ),
        "tools": '[{"name": "get_weather", "parameters": {"type": "object"}}]',
    }
    [record] = read_rows([row]).records
    assert [message.role for message in record.messages] == ["user", "assistant", "tool", "assistant"]
    assert record.messages[1] == Message(
        "assistant", "", tool_calls=(ToolCall("get_weather", {"city": "北京", "days": 2}),)
    )
    assert record.tools == (
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}},
    )
    two = turns(("human", "天气"), ("function_call", f"[{CALL}, {CALL}]"))
    [record] = read_rows([{"conversations": two}]).records
    assert len(record.messages[1].tool_calls) == 2


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
    tools = read_source(folder / "glaive_toolcall_zh_demo.jsonl")
    assert (tools.account.rows_used, tools.reasons) == (298, {"bad_roles": 2})
    assert sum(bool(message.tool_calls) for record in tools.records for message in record.messages) > 150
