"""OpenAI messages: order of turns, train flags, the two repairs, and every reason of the quarantine."""

import pytest

from xinglin.data.records import Message


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
        ([user("头疼"), {"role": "tool", "content": "{}"}], "tool_use"),
        ([user("头疼"), assistant("", tool_calls=[{"name": "f"}])], "tool_use"),
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
    assert read_rows([good, {**good, "label": False}]).reasons == {"unknown_format": 1}
