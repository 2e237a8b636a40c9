from xinglin.data.records import (
    Conversation,
    Document,
    Message,
    Origin,
    Preference,
    Question,
    ToolCall,
    texts,
    with_texts,
)

HERE = Origin("rows.jsonl", 1)
RECORDS = [
    Document("咳嗽", HERE),
    Conversation(
        (
            Message("user", "头痛"),
            Message(
                "assistant", "查一下", tool_calls=(ToolCall("find", {"q": ["头痛", {"n": 3, "s": "热"}]}),)
            ),
            Message("tool", "偏头痛", name="find"),
            Message("assistant", "休息", train=0.5),
        ),
        HERE,
        {"department": "神经内科"},
        ({"type": "function", "function": {"name": "find"}},),
    ),
    Preference((Message("user", "发热"),), "喝水", "不管", HERE),
    Question("哪个", {"A": "甲", "B": "乙"}, "A", HERE),
]


def test_a_change_reaches_every_text_and_nothing_else():
    for record in RECORDS:
        changed = with_texts(record, lambda text: f"<{text}>")
        if not isinstance(record, Conversation):
            assert texts(changed) == tuple(f"<{text}>" for text in texts(record))
        assert (changed.origin, changed.meta) == (record.origin, record.meta)
        assert with_texts(changed, lambda text: text[1:-1]) == record
    conversation = with_texts(RECORDS[1], lambda text: f"<{text}>")
    assert isinstance(conversation, Conversation) and isinstance(RECORDS[1], Conversation)
    assert conversation.tools == RECORDS[1].tools
    assert conversation.messages[1].tool_calls == (
        ToolCall("find", {"q": ["<头痛>", {"n": 3, "s": "<热>"}]}),
    )
    assert [m.train for m in conversation.messages] == [True, True, True, 0.5]
