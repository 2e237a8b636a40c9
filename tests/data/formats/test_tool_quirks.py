"""Rows with calls of tools as they are published: every form of one conversation is that conversation."""

import json

import pytest

from xinglin.data.records import Message, ToolCall

FEVER, PRICE = ToolCall("fever", {"days": 3}), ToolCall("price", {"drug": "布洛芬"})
DESCRIBED = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("fever", "price")
]
BARE = [tool["function"] for tool in DESCRIBED]
ASKED, ANSWERED = "烧三天，药多少钱？", "低热，12 元。"
ONE = (
    Message("user", ASKED),
    Message("assistant", "", tool_calls=(FEVER,)),
    Message("tool", "低热"),
    Message("assistant", ANSWERED),
)
BOTH = (
    ONE[0],
    Message("assistant", "", tool_calls=(FEVER, PRICE)),
    Message("tool", "低热", name="fever"),
    Message("tool", "12", name="price"),
    ONE[-1],
)


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def call(which, *, arguments=dict, **more):
    return {"name": which.name, "arguments": arguments(which.arguments), **more}


def openai(*between, **more):
    ends = {"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}
    return {"messages": [ends[0], *between, ends[1]], **more}


def sharegpt(*between, **more):
    turns = [("human", ASKED), *between, ("gpt", ANSWERED)]
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in turns], **more}


RESULT = {"role": "tool", "content": "低热"}
ROWS = {
    "arguments as an object": openai(
        {"role": "assistant", "tool_calls": [{"function": call(FEVER)}]}, RESULT
    ),
    "arguments as JSON": openai(
        {"role": "assistant", "content": None, "tool_calls": [{"function": call(FEVER, arguments=dumps)}]},
        RESULT,
    ),
    "empty content beside the call": openai(
        {"role": "assistant", "content": "", "tool_calls": [call(FEVER)], "function_call": None}, RESULT
    ),
    "calls as JSON": openai({"role": "assistant", "content": "", "tool_calls": dumps([call(FEVER)])}, RESULT),
    "each call as JSON": openai({"role": "assistant", "tool_calls": [dumps(call(FEVER))]}, RESULT),
    "function_call of one message": openai(
        {"role": "assistant", "content": None, "function_call": call(FEVER, arguments=dumps)},
        {"role": "function", "content": "低热"},
    ),
    "roles of calls and results": openai(
        {"role": "tool_call", "content": dumps(call(FEVER))}, {"role": "tool_response", "content": "低热"}
    ),
    "roles of ShareGPT": sharegpt(("function_call", dumps(call(FEVER))), ("observation", "低热")),
    "ShareGPT with arguments as JSON": sharegpt(
        ("function_call", dumps(call(FEVER, arguments=dumps))), ("observation", "低热")
    ),
    "ShareGPT with objects": sharegpt(("function_call", call(FEVER)), ("observation", "低热")),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_one_call_in_every_form(read_rows, row):
    (record,) = read_rows([row]).records
    assert record.messages == ONE and not record.meta


IDS = [{"id": f"c{at}", "type": "function", "function": call(each)} for at, each in enumerate((FEVER, PRICE))]
NAMED = [
    {"role": "tool", "name": "fever", "content": "低热"},
    {"role": "tool", "name": "price", "content": 12},
]
BY_ID = [
    {"role": "tool", "tool_call_id": "c0", "content": "低热"},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "12"}]},
]
PARALLEL = {
    "one message with both calls": openai({"role": "assistant", "tool_calls": IDS}, *NAMED),
    "results by the ids of calls": openai({"role": "assistant", "tool_calls": IDS}, *BY_ID),
    "results in another order": openai({"role": "assistant", "tool_calls": IDS}, *BY_ID[::-1]),
    "a message for each call": openai(
        {"role": "tool_call", "content": dumps(call(FEVER))},
        {"role": "tool_call", "content": call(PRICE)},
        *NAMED,
    ),
    "messages of the assistant": openai(
        {"role": "assistant", "tool_calls": IDS[:1]}, {"role": "assistant", "tool_calls": IDS[1:]}, *BY_ID
    ),
}


@pytest.mark.parametrize("row", PARALLEL.values(), ids=PARALLEL)
def test_parallel_calls_in_every_form(read_rows, row):
    (record,) = read_rows([row]).records
    assert record.messages == BOTH


def test_ids_that_come_again_are_of_the_last_call(read_rows):
    def round(name):
        call = {"id": "c", "function": {"name": name, "arguments": {}}}
        return {"role": "assistant", "tool_calls": [call]}, {
            "role": "tool",
            "tool_call_id": "c",
            "content": "1",
        }

    said = {"role": "assistant", "content": "好。"}, {"role": "user", "content": "再查。"}
    (record,) = read_rows([openai(*round("fever"), *said, *round("price"))]).records
    assert [message.name for message in record.messages if message.role == "tool"] == ["fever", "price"]


def test_results_that_do_not_say_whose_they_are_stay_as_they_are(read_rows):
    unknown = [{"role": "tool", "content": "12"}, {"role": "tool", "tool_call_id": "c7", "content": "低热"}]
    plain = [{"name": call["function"]["name"], "arguments": {}} for call in IDS]
    for calls in (IDS, plain):
        (record,) = read_rows([openai({"role": "assistant", "tool_calls": calls}, *unknown)]).records
        results = [message for message in record.messages if message.role == "tool"]
        assert results == [Message("tool", "12"), Message("tool", "低热")]


def test_parallel_calls_of_sharegpt(read_rows):
    observations = [("observation", "低热"), ("observation", "12")]
    together = sharegpt(("function_call", dumps([call(FEVER), call(PRICE)])), *observations)
    apart = sharegpt(("function_call", dumps(call(FEVER))), ("function_call", call(PRICE)), *observations)
    one, two = read_rows([together, apart]).records
    assert one.messages[1] == BOTH[1] and one.messages == two.messages


@pytest.mark.parametrize(
    "tools",
    [
        {"tools": DESCRIBED},
        {"tools": BARE},
        {"tools": dumps(BARE)},
        {"tools": dumps(DESCRIBED)},
        {"tools": [dumps(tool) for tool in BARE]},
        {"functions": BARE},
        {"functions": dumps(BARE), "tools": None},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("form", "more"), [(openai, {}), (sharegpt, {}), (openai, {"label": True}), (sharegpt, {"kto_tag": True})]
)
def test_tools_in_every_form(read_rows, form, more, tools):
    (record,) = read_rows([form(**tools, **more)]).records
    assert list(record.tools) == DESCRIBED and not record.meta


def test_tools_of_preferences(read_rows):
    row = {"prompt": ASKED, "chosen": [{"role": "assistant", "tool_calls": IDS}], "rejected": "不知道。"}
    (record,) = read_rows([{**row, "functions": BARE}]).records
    assert list(record.tools) == DESCRIBED and record.chosen_calls == (FEVER, PRICE) and not record.meta


def test_words_before_a_call_belong_to_it(read_rows):
    row = sharegpt(("gpt", "我查一下。"), ("function_call", dumps(call(FEVER))), ("observation", "低热"))
    (record,) = read_rows([row]).records
    assert record.messages == (ONE[0], Message("assistant", "我查一下。", tool_calls=(FEVER,)), *ONE[2:])


def test_an_untrained_answer_is_not_joined_to_a_trained_call(read_rows):
    answer = {"role": "assistant", "content": "我查一下。", "train": False}
    good = openai({"role": "assistant", "tool_calls": IDS[:1]}, RESULT)
    reading = read_rows([good, openai(answer, {"role": "assistant", "tool_calls": IDS[:1]}, RESULT)])
    assert reading.reasons == {"bad_roles": 1}


@pytest.mark.parametrize("arguments", [{}, "{}", "", None, "null"])
def test_a_call_without_arguments(read_rows, arguments):
    row = openai({"role": "assistant", "tool_calls": [{"name": "now", "arguments": arguments}]}, RESULT)
    (record,) = read_rows([row]).records
    assert record.messages[1].tool_calls == (ToolCall("now", {}),)
