"""Rated answers: every form that they are published in, and back again."""

import json

import pytest

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.records import Origin, Rating, from_json, kind_of, texts, with_texts
from xinglin.data.sources import Source, read

TALK = [{"role": "user", "content": "孕妇感冒吃什么药？"}, {"role": "assistant", "content": "吃布洛芬。"}]
SPOKEN = [{"from": "human", "value": "孕妇感冒吃什么药？"}, {"from": "gpt", "value": "吃布洛芬。"}]


def records(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    account = SourceAccount()
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        return list(read(Source(path=str(path)), kind=None, account=account, quarantine=quarantine)), account


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TALK, "label": False},
        {"messages": TALK, "kto_tag": "false"},
        {"conversations": SPOKEN, "kto_tag": False},
        {"prompt": "孕妇感冒吃什么药？", "completion": "吃布洛芬。", "label": False},
        {"prompt": TALK[:1], "completion": TALK[1:], "label": False},
        {"instruction": "孕妇感冒吃什么药？", "input": "", "output": "吃布洛芬。", "kto_tag": False},
    ],
)
def test_every_published_form(tmp_path, row):
    (record,), _ = records(tmp_path, row)
    assert isinstance(record, Rating) and kind_of(record) == "rating" and record.good is False
    assert [message.content for message in record.messages] == ["孕妇感冒吃什么药？", "吃布洛芬。"]
    assert not record.meta
    good = {"label": True, **row} | {key: True for key in ("label", "kto_tag") if key in row}
    (other,), _ = records(tmp_path, good)
    assert other.good is True


def test_only_the_last_answer_is_trained_and_everything_survives_a_file(tmp_path):
    tools = [{"name": "lookup", "parameters": {"type": "object"}}]
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "lookup", "arguments": {}}}]}
    talk = [TALK[0], called, {"role": "tool", "content": "无货"}, TALK[1]]
    row = {"system": "你是医生。", "messages": [*TALK, *talk], "label": True, "tools": tools, "ward": "产科"}
    (record,), _ = records(tmp_path, row)
    assert [bool(message.train) for message in record.messages if message.role == "assistant"] == [
        False,
        False,
        True,
    ]
    assert record.meta == {"ward": "产科"} and record.tools[0]["function"]["name"] == "lookup"
    assert from_json(json.loads(json.dumps(record.to_json())), Origin("x", 1)) == record
    changed = with_texts(record, lambda text: text.replace("布洛芬", "药"))
    assert isinstance(changed, Rating) and changed.good and "吃药。" in texts(changed)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": TALK[:1], "label": True}, "no_answer"),
        ({"prompt": "", "completion": "吃布洛芬。", "label": True}, "empty_message"),
        ({"messages": [*TALK[:1], {"role": "assistant", "content": " "}], "label": True}, "empty_message"),
    ],
)
def test_rows_that_rate_nothing_are_quarantined(tmp_path, row, reason):
    _, account = records(tmp_path, {"messages": TALK, "label": True}, row)
    assert account.to_json()["reasons"] == {reason: 1}


def test_a_split_holds_ratings_only(tmp_path):
    _, account = records(tmp_path, {"messages": TALK, "label": True}, {"messages": TALK})
    assert account.to_json()["reasons"] == {"wrong_record_kind": 1}
