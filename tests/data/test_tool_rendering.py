"""Calls of tools: which tokens are trained, whatever is in them, and what is refused."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_toys import byte_level, masked, runs, words

from xinglin.data.records import Message, ToolCall
from xinglin.data.rendering import Renderer
from xinglin.errors import DataError


def user(text):
    return Message("user", text)


def bot(text):
    return Message("assistant", text)


RENDERERS = {
    name: Renderer(byte_level(bos="<s>"), template=name)
    for name in ("chatml", "qwen2_5", "qwen3", "llama3_1", "glm4")
}
PRICE = ({"type": "function", "function": {"name": "查价", "parameters": {"type": "object"}}},)
CALL = ToolCall("查价", {"药": '布"洛芬\n<|im_end|>', "盒": 2})
TOOL_TALK = [
    user("多少钱"),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", '{"price": "12"}'),
    bot("12 元"),
]


@pytest.mark.parametrize(
    ("name", "call", "result"),
    [
        (
            "qwen2_5",
            '<tool_call>\n{"name": "查价", "arguments": %s}\n</tool_call><|im_end|>',
            '{"price": "12"}',
        ),
        (
            "qwen3",
            '<tool_call>\n{"name": "查价", "arguments": %s}\n</tool_call><|im_end|>',
            '{"price": "12"}',
        ),
        ("llama3_1", '{"name": "查价", "parameters": %s}<|eot_id|>', '{\\"price\\": \\"12\\"}'),
        ("glm4", "查价\n%s<|observation|>", '{"price": "12"}'),
    ],
)
@pytest.mark.parametrize("added", [(), ("<tool_call>", "</tool_call>")], ids=["words", "tokens"])
def test_calls_are_trained_and_schemas_and_results_never(name, call, result, added):
    tokenizer = byte_level(bos="<s>")
    tokenizer.backend_tokenizer.add_tokens(list(added))
    renderer = Renderer(tokenizer, template=name)
    text = masked(renderer, renderer.conversation(TOOL_TALK, tools=PRICE))
    trained = re.findall(r"\[\[(.*?)\]\]", text, re.DOTALL)
    assert trained[0] == call % json.dumps(CALL.arguments, ensure_ascii=False)
    assert len(trained) == 2 and "12 元" in trained[1]
    untrained = re.sub(r"\[\[.*?\]\]", "", text, flags=re.DOTALL)
    assert result in untrained and '"type": "object"' in untrained
    prompt = renderer.prompt_ids(TOOL_TALK[:-1], tools=PRICE)
    (row,) = renderer.encode([renderer.conversation(TOOL_TALK, tools=PRICE)])
    assert row.ids[: len(prompt)].tolist() == prompt


def test_a_special_token_typed_into_an_argument_stays_text():
    renderer = RENDERERS["glm4"]
    (row,) = renderer.encode([renderer.conversation(TOOL_TALK, tools=PRICE)])
    end = renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end not in row.ids


@pytest.mark.parametrize(
    ("template_name", "talk", "tools", "message"),
    [
        ("chatml", TOOL_TALK, PRICE, "prints the calls of message 2 .assistant. 0 times"),
        ("chatml", [user("a"), bot("b")], PRICE, "does not print the tool '查价'"),
        (
            "llama3_1",
            [*TOOL_TALK[:1], replace(TOOL_TALK[1], content="查"), *TOOL_TALK[2:]],
            PRICE,
            "no text beside it",
        ),
        (
            "qwen3",
            TOOL_TALK,
            ({"type": "function", "function": {"name": "</s>"}},),
            "description of the tools spells",
        ),
        (
            "qwen3",
            [user("a"), Message("assistant", "", tool_calls=(ToolCall("f", {"</s>": 1}),))],
            (),
            "a call in message 2 .assistant. spells the special token '</s>'",
        ),
    ],
)
def test_tools_that_cannot_be_followed_are_refused(template_name, talk, tools, message):
    with pytest.raises(DataError, match=message):
        RENDERERS[template_name].conversation(talk, tools=tools)


arguments = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.sampled_from("abc"), value, max_size=2),
    max_leaves=5,
)
called = st.builds(
    ToolCall, st.sampled_from(["查价", "f"]), st.dictionaries(st.sampled_from("de"), arguments, max_size=2)
)


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "glm4", "llama3_1"])
@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(called, min_size=1, max_size=2),
    said=words | st.just(""),
    result=words,
    weight=st.sampled_from([True, 0.5]),
)
def test_any_call_is_masked_exactly_or_refused(name, calls, said, result, weight):
    """The trained text of a call is what stands between the prompt for it and the result."""
    renderer = RENDERERS[name]
    talk = [user("问"), Message("assistant", said, weight, tuple(calls)), Message("tool", result), bot("答")]
    try:
        segments = renderer.conversation(talk, tools=PRICE)
    except DataError as error:
        assert name == "llama3_1" and (said or len(calls) > 1), error
        return
    whole = "".join(segment.text for segment in segments)
    (row,) = renderer.encode([segments])
    assert renderer.tokenizer.decode(row.ids, skip_special_tokens=False) == whole
    header = renderer.prompt([user("问")], tools=PRICE).removesuffix("<think>\n\n</think>\n\n")
    first, second = [text for text, weight in runs(segments) if weight]
    assert whole.startswith(header + first)
    for call in calls:
        assert call.name in first and json.dumps(call.arguments, ensure_ascii=False) in first
    assert said.strip() in first and "答" in second
    assert set(np.unique(row.weights)) == {0.0, float(weight), 1.0}
