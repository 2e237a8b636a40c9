"""OpenAI messages: order of turns, train flags, the two repairs, and every reason of the quarantine."""

import pytest

from xinglin.data.records import Message, ToolCall

FEVER = {"id": "c1", "type": "function", "function": {"name": "fever", "arguments": '{"days": 3}'}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def test_conversation_with_system_train_flags_and_meta(read_rows):
    row = {
        "messages": [
            {"role": "system", "content": "你是医生。"},
            user("头疼"),
            assistant("多久了？", train=False),
            user("三天"),
            assistant("看神经内科。"),
        ],
        "department": "神经内科",
    }
    [record] = read_rows([row]).records
    assert record.messages[0] == Message("system", "你是医生。")
    assert [message.train for message in record.messages if message.role == "assistant"] == [False, True]
    assert dict(record.meta) == {"department": "神经内科"}


@pytest.mark.parametrize("key", ["messages", "conversations", "conversation"])
def test_other_names_of_the_list_weights_and_parts(read_rows, key):
    parts = [{"type": "text", "text": "头"}, {"type": "text", "text": "疼"}]
    row = {key: [user(parts), assistant("嗯", weight=0), user("药？"), assistant("布洛芬")], "system": "医生"}
    [record] = read_rows([row]).records
    assert [message.content for message in record.messages] == ["医生", "头疼", "嗯", "药？", "布洛芬"]
    assert not record.messages[2].train


def test_weights_that_are_no_flags(read_rows):
    row = {"messages": [user("头疼"), assistant("嗯", weight=0.25), user("药？"), assistant("无", weight=1)]}
    [record] = read_rows([row]).records
    assert [message.train for message in record.messages if message.role == "assistant"] == [0.25, True]
    assert record.to_json()["messages"][1]["weight"] == 0.25


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_in_a_field_of_its_own(read_rows, key):
    rows = [
        {"messages": [user("头疼"), assistant("休息", **{key: "不重。\n"})]},
        {"messages": [user("a"), assistant("b", **{key: ""})]},
    ]
    one, two = read_rows(rows).records
    assert one.messages[1].content == "<think>\n不重。\n</think>\n\n休息"
    assert two.messages[1].content == "b"


def test_tool_calls_in_every_form_of_arguments(read_rows):
    calls = [FEVER, {"name": "fever", "arguments": {"days": 3}}]
    ends = [{"role": "tool", "content": {"t": "低热"}, "name": "fever"}, assistant("多喝水")]
    rows = [{"messages": [user("烧吗"), assistant(None, tool_calls=[call]), *ends]} for call in calls]
    rows += [{"messages": [user("烧吗"), assistant("", function_call=calls[1]), *ends]}]
    for row in rows:
        [record] = read_rows([{**row, "tools": [{"name": "fever"}]}]).records
        assert record.messages[1:3] == (
            Message("assistant", "", tool_calls=(ToolCall("fever", {"days": 3}),)),
            Message("tool", '{"t": "低热"}', name="fever"),
        )
        assert record.tools == ({"type": "function", "function": {"name": "fever"}},)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "empty"),
        ([user("头疼")], "no_answer"),
        ([user("头疼"), assistant("嗯"), user("药？")], "no_answer"),
        ([user("头疼"), assistant(" ")], "empty_message"),
        ([user(""), assistant("嗯")], "empty_message"),
        ([user(None), assistant("嗯")], "empty_message"),
        ([user("头疼"), user("还有"), assistant("嗯")], "bad_roles"),
        ([assistant("您好"), user("头疼"), assistant("嗯")], "bad_roles"),
        ([assistant("您好")], "bad_roles"),
        ([user("头疼"), {"role": "system", "content": "医生"}, assistant("嗯")], "bad_roles"),
        ([user("头疼"), {"role": "doctor", "content": "嗯"}], "bad_roles"),
        ([user("头疼"), "嗯"], "bad_roles"),
        ([user("头疼"), {"role": "tool", "content": "{}"}], "bad_roles"),
        ([user("头疼"), assistant("", tool_calls=[{"name": "f"}]), user("？"), assistant("嗯")], "bad_roles"),
        ([user("头疼"), assistant("", tool_calls=[{"name": "f", "arguments": "["}])], "bad_tool_call"),
        ([user("头疼"), assistant("", tool_calls=[{"name": "f", "arguments": "[]"}])], "bad_tool_call"),
        ([user("头疼"), assistant("", tool_calls=[{"arguments": {}}])], "bad_tool_call"),
        ([user("头疼"), assistant("", tool_calls=[FEVER]), {"role": "tool", "name": 3}], "bad_tool_call"),
        ([user("头疼"), assistant("", tool_calls=[FEVER]), {"role": "tool", "content": "1"}], "no_answer"),
        ([user("头疼"), assistant("<think>a</think>b", reasoning_content="c")], "bad_reasoning"),
        ([user("头疼"), assistant("b", thinking="a", reasoning_content="c")], "bad_reasoning"),
        ([user("头疼"), assistant("嗯", weight=-1)], "bad_train_flag"),
        ([user("头疼"), assistant("嗯", weight=0.0)], "nothing_to_train"),
        ([user("头疼"), assistant(3)], "not_text"),
        ([user("头疼"), assistant([{"type": "image", "url": "x"}])], "not_text"),
        ([user("头疼"), assistant("嗯", train="yes")], "bad_train_flag"),
        ([user("头疼"), assistant("嗯", train=False)], "nothing_to_train"),
    ],
)
def test_reasons(read_rows, messages, reason):
    good = {"messages": [user("a"), assistant("b")]}
    reading = read_rows([good, {"messages": messages}])
    assert reading.reasons == {reason: 1}
    assert reading.quarantined[0]["row"] == 2


def test_repairs_only_when_asked_for_and_counted(read_rows):
    row = {"messages": [user("头疼"), user("三天"), assistant("看医生"), user("谢谢")]}
    options = {"unanswered": "drop", "repeated": "merge"}
    reading = read_rows([row], format="messages", options=options)
    assert [message.content for message in reading.records[0].messages] == ["头疼\n三天", "看医生"]
    assert reading.account.repairs == {"repeated_speaker_merged": 1, "unanswered_dropped": 1}


def test_merging_never_mixes_trained_and_untrained(read_rows):
    row = {"messages": [user("头疼"), assistant("嗯", train=False), assistant("看医生")]}
    good = {"messages": [user("a"), assistant("b")]}
    assert read_rows([good, row], format="messages", options={"repeated": "merge"}).reasons == {
        "bad_roles": 1
    }


def test_untrained_answers_may_be_empty(read_rows):
    row = {"messages": [user("头疼"), assistant("", train=False), user("三天"), assistant("看医生")]}
    assert len(read_rows([row]).records) == 1


def test_empty_system_message_is_dropped_and_counted(read_rows):
    reading = read_rows([{"messages": [{"role": "system", "content": ""}, user("头疼"), assistant("嗯")]}])
    assert [message.role for message in reading.records[0].messages] == ["user", "assistant"]
    assert reading.account.repairs == {"empty_system_dropped": 1}


def test_labelled_feedback_is_not_taken_for_a_demonstration(read_rows):
    """KTO rows mark bad answers by ``label: false``; training on them would teach the bad answer."""
    good = {"messages": [user("a"), assistant("b")]}
    assert read_rows([good, {**good, "label": False}]).reasons == {"wrong_record_kind": 1}
