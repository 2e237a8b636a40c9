"""Preferences in which tools are described, called or have answered: read, kept, rendered, cut."""

import json
from dataclasses import replace

import pytest
from rendering_toys import byte_level

from xinglin.data.hindsight import PreferenceReader, Unused
from xinglin.data.overlength import OverLength, fit_many
from xinglin.data.prompts import prompt_of
from xinglin.data.records import Origin, from_json, texts, with_texts
from xinglin.data.rendering import Renderer
from xinglin.errors import DataError

TOOL = {"name": "query", "description": "查预约", "parameters": {"type": "object"}}
ASKED = [{"from": "human", "value": "查张三的预约"}]
RESULT = [
    {"from": "function_call", "value": '{"name": "query", "arguments": {"patient": "张三"}}'},
    {"from": "observation", "value": '{"date": "4月10日"}'},
]
CALL = {
    "conversations": ASKED,
    "tools": json.dumps([TOOL]),
    "chosen": 'Action: query\nAction Input: {"patient": "张三"}\n',
    "rejected": "您记得是什么时候吗？",
}
ANSWER = {**CALL, "conversations": ASKED + RESULT, "chosen": "4月10日。", "rejected": "不知道。"}


@pytest.mark.parametrize(
    "chosen",
    [
        CALL["chosen"],
        {"from": "function_call", "value": '{"name": "query", "arguments": {"patient": "张三"}}'},
        [
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "query", "arguments": {"patient": "张三"}}}],
            }
        ],
    ],
)
def test_an_answer_that_is_a_call_in_every_form(read_rows, chosen):
    reading = read_rows([{**CALL, "chosen": chosen}])
    (record,) = reading.records
    assert record.chosen == "" and record.rejected == "您记得是什么时候吗？" and not record.rejected_calls
    assert [(call.name, call.arguments) for call in record.chosen_calls] == [("query", {"patient": "张三"})]
    assert record.tools[0]["function"]["name"] == "query" and not record.meta
    assert from_json(json.loads(json.dumps(record.to_json())), Origin("x", 1)) == record
    assert '{"name": "query", "arguments": {"patient": "张三"}}' in texts(record)
    changed = with_texts(record, lambda text: text.replace("张三", "某人"))
    assert changed.chosen_calls[0].arguments == {"patient": "某人"} and with_texts(record, str) is record


def test_text_is_a_call_only_of_a_tool_that_is_described(read_rows):
    other = {**CALL, "chosen": "Action: delete\nAction Input: {}"}
    reading = read_rows([CALL, other])
    called, plain = reading.records
    assert (
        called.chosen_calls and plain.chosen == "Action: delete\nAction Input: {}" and not plain.chosen_calls
    )
    assert reading.account.to_json()["repairs"] == {"action_text_read_as_call": 1}


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3_1", "glm4"])
def test_both_answers_are_trained_behind_the_same_prompt(read_rows, name):
    renderer = Renderer(byte_level(bos="<s>"), template=name)
    for record in read_rows([CALL, ANSWER]).records:
        prompt = renderer.prompt(record.prompt, tools=record.tools)
        assert "查预约" in prompt and ("4月10日" in prompt) == (record.prompt[-1].role == "tool")
        for answer in record.answers:
            segments = renderer.preference(record.prompt, answer, tools=record.tools)
            assert "".join(segment.text for segment in segments).startswith(prompt)
            trained = "".join(segment.text for segment in segments if segment.weight)
            assert ("张三" if answer.tool_calls else answer.content) in trained
            assert "查预约" not in trained and "date" not in trained


def test_shortened_it_keeps_its_tools(read_rows):
    history = [{"from": "human", "value": "早。" * 60}, {"from": "gpt", "value": "早。"}]
    (record,) = read_rows([{**ANSWER, "conversations": history + ANSWER["conversations"]}]).records
    renderer = Renderer(byte_level(), template="qwen2_5")
    short = replace(record, prompt=record.prompt[2:])
    rows = renderer.encode(
        [renderer.preference(short.prompt, each, tools=short.tools) for each in short.answers]
    )
    (fitted,) = fit_many(
        [record],
        renderer,
        max_tokens=max(map(len, rows)) + 5,
        policy="truncate_history",
        counter=OverLength(),
        whole=lambda record: False,
    )
    assert [piece.ids.tolist() for piece in fitted.pieces] == [row.ids.tolist() for row in rows]


def test_what_cannot_use_tools_says_so(read_rows):
    call, answer = read_rows([CALL, ANSWER]).records
    for record in (call, answer):
        with pytest.raises(DataError, match="with tools cannot be answered here"):
            prompt_of(record)
        with pytest.raises(Unused):
            PreferenceReader("hindsight").read(record)
    (accepted,) = PreferenceReader("chosen").read(call)
    assert accepted.messages[-1].tool_calls == call.chosen_calls and accepted.tools == call.tools


def test_the_real_file(shared, read_source):
    reading = read_source(shared / "train" / "medicalgpt" / "toolcall_dpo_zh_demo.jsonl", kind="preference")
    assert (reading.account.rows_used, reading.reasons) == (11, {})
    calls = [bool(record.chosen_calls) for record in reading.records]
    results = [record.prompt[-1].role == "tool" for record in reading.records]
    assert sum(calls) == 6 and sum(results) == 4 and all(record.tools for record in reading.records)
    assert reading.account.to_json()["repairs"] == {"action_text_read_as_call": 7}
