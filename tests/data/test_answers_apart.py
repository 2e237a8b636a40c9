"""Answers that end sequences of their own: behind exactly the prompt that asks for them."""

import json

import pytest
from rendering_toys import byte_level

from xinglin.data.records import Conversation, Message, Origin, ToolCall
from xinglin.data.rendering import Renderer
from xinglin.data.splits import open_shards

TOOLS = ({"type": "function", "function": {"name": "查价"}},)
TALK = (
    Message("system", "你是医生。"),
    Message("user", "累"),
    Message("assistant", "休息。"),
    Message("user", "贵吗"),
    Message("assistant", "", 0.5, (ToolCall("查价", {"药": "钙片"}),)),
    Message("tool", "12"),
    Message("assistant", "不贵。"),
)


def shards_of(tmp_path, template, *, apart):
    path = tmp_path / "talk.jsonl"
    record = Conversation(TALK, Origin("talk.jsonl", 1), tools=TOOLS)
    path.write_text(json.dumps(record.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")
    renderer = Renderer(byte_level(bos="<s>"), template=template)
    return renderer, open_shards(
        path, renderer, max_tokens=4000, policy="split", places=[tmp_path / "shards"], apart=apart
    )


def test_every_answer_follows_the_prompt_that_asks_for_it(tmp_path):
    renderer, shards = shards_of(tmp_path, "qwen3", apart=True)
    assert (len(shards), shards.rows.tolist()) == (3, [0, 0, 0])
    answers = [2, 4, 6]
    for (ids, weights), at in zip((shards[number] for number in range(3)), answers, strict=True):
        prompt = renderer.prompt_ids(TALK[:at], tools=TOOLS)
        assert ids[: len(prompt)].tolist() == prompt
        assert not weights[: len(prompt)].any() and weights[len(prompt)] == float(TALK[at].train)
    assert len(shards_of(tmp_path, "qwen3", apart=False)[1]) == 1


@pytest.mark.parametrize("template", ["qwen2_5", "glm4"])
def test_templates_that_keep_answers_as_they_are_keep_them_together(tmp_path, template):
    _, apart = shards_of(tmp_path, template, apart=True)
    _, together = shards_of(tmp_path, template, apart=False)
    assert len(apart) == len(together) == 1
    assert apart[0].ids.tolist() == together[0].ids.tolist()
