"""Packaged templates, byte for byte, against what the originals print for the same sentences."""

import json

import pytest
from rendering_toys import byte_level

from xinglin.data.records import Message, ToolCall
from xinglin.data.rendering import Renderer
from xinglin.data.shape import pieces_of, rows_of, shape_of
from xinglin.data.templates import load_template, template_names
from xinglin.errors import PluginError

SYSTEM = Message("system", "你是医生。")
ONE = (Message("user", "发热怎么办？"), Message("assistant", "多喝水。"))
TWO = (*ONE, Message("user", "要吃药吗？"), Message("assistant", "暂时不用。"))

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
HEAD, TAIL = "<|start_header_id|>{}<|end_header_id|>\n\n", "<|eot_id|>"
DATED = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
USER, BOT = HEAD.format("user"), HEAD.format("assistant")

# name: (one exchange, two exchanges with a system prompt, what follows them to ask for a further answer)
GOLDEN = {
    "chatml": (
        "<|im_start|>user\n发热怎么办？<|im_end|>\n<|im_start|>assistant\n多喝水。<|im_end|>\n",
        "<|im_start|>system\n你是医生。<|im_end|>\n<|im_start|>user\n发热怎么办？<|im_end|>\n"
        "<|im_start|>assistant\n多喝水。<|im_end|>\n<|im_start|>user\n要吃药吗？<|im_end|>\n"
        "<|im_start|>assistant\n暂时不用。<|im_end|>\n",
        "<|im_start|>user\n多久？<|im_end|>\n<|im_start|>assistant\n",
    ),
    "default": (
        "Human: 发热怎么办？</s>\nAssistant:多喝水。</s>\n",
        "System: 你是医生。</s>\nHuman: 发热怎么办？</s>\nAssistant:多喝水。</s>\n"
        "Human: 要吃药吗？</s>\nAssistant:暂时不用。</s>\n",
        "Human: 多久？</s>\nAssistant:",
    ),
    "vicuna": (
        VICUNA + " USER: 发热怎么办？ ASSISTANT: 多喝水。</s>",
        "你是医生。 USER: 发热怎么办？ ASSISTANT: 多喝水。</s>USER: 要吃药吗？ ASSISTANT: 暂时不用。</s>",
        "USER: 多久？ ASSISTANT:",
    ),
    "alpaca": (
        ALPACA + "\n\n### Instruction:\n发热怎么办？\n\n### Response:\n多喝水。</s>\n\n",
        "你是医生。\n\n### Instruction:\n发热怎么办？\n\n### Response:\n多喝水。</s>\n\n"
        "### Instruction:\n要吃药吗？\n\n### Response:\n暂时不用。</s>\n\n",
        "### Instruction:\n多久？\n\n### Response:\n",
    ),
    "ziya": (
        "<human>:发热怎么办？\n<bot>:多喝水。</s>\n",
        "你是医生。\n<human>:发热怎么办？\n<bot>:多喝水。</s>\n<human>:要吃药吗？\n<bot>:暂时不用。</s>\n",
        "<human>:多久？\n<bot>:",
    ),
    "llama2": (
        "<s>[INST] 发热怎么办？ [/INST] 多喝水。 </s>",
        "<s>[INST] <<SYS>>\n你是医生。\n<</SYS>>\n\n发热怎么办？ [/INST] 多喝水。 </s>"
        "<s>[INST] 要吃药吗？ [/INST] 暂时不用。 </s>",
        "<s>[INST] 多久？ [/INST]",
    ),
    "llama3": (
        f"<s>{USER}发热怎么办？{TAIL}{BOT}多喝水。{TAIL}",
        f"<s>{HEAD.format('system')}你是医生。{TAIL}{USER}发热怎么办？{TAIL}{BOT}多喝水。{TAIL}"
        f"{USER}要吃药吗？{TAIL}{BOT}暂时不用。{TAIL}",
        f"{USER}多久？{TAIL}{BOT}",
    ),
    "chatglm3": (
        "[gMASK]sop<|user|>\n 发热怎么办？<|assistant|>\n 多喝水。",
        "[gMASK]sop<|system|>\n 你是医生。<|user|>\n 发热怎么办？<|assistant|>\n 多喝水。"
        "<|user|>\n 要吃药吗？<|assistant|>\n 暂时不用。",
        "<|user|>\n 多久？<|assistant|>",
    ),
    "glm4": (
        "[gMASK]<sop><|user|>\n发热怎么办？<|assistant|>\n多喝水。",
        "[gMASK]<sop><|system|>\n你是医生。<|user|>\n发热怎么办？<|assistant|>\n多喝水。"
        "<|user|>\n要吃药吗？<|assistant|>\n暂时不用。",
        "<|user|>\n多久？<|assistant|>",
    ),
    "qwen2": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n发热怎么办？<|im_end|>\n<|im_start|>assistant\n多喝水。<|im_end|>\n",
        "<|im_start|>system\n你是医生。<|im_end|>\n<|im_start|>user\n发热怎么办？<|im_end|>\n"
        "<|im_start|>assistant\n多喝水。<|im_end|>\n<|im_start|>user\n要吃药吗？<|im_end|>\n"
        "<|im_start|>assistant\n暂时不用。<|im_end|>\n",
        "<|im_start|>user\n多久？<|im_end|>\n<|im_start|>assistant\n",
    ),
    "qwen2_5": (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n发热怎么办？<|im_end|>\n<|im_start|>assistant\n多喝水。<|im_end|>\n",
        "<|im_start|>system\n你是医生。<|im_end|>\n<|im_start|>user\n发热怎么办？<|im_end|>\n"
        "<|im_start|>assistant\n多喝水。<|im_end|>\n<|im_start|>user\n要吃药吗？<|im_end|>\n"
        "<|im_start|>assistant\n暂时不用。<|im_end|>\n",
        "<|im_start|>user\n多久？<|im_end|>\n<|im_start|>assistant\n",
    ),
    "llama3_1": (
        f"<s>{HEAD.format('system')}{DATED}{TAIL}{USER}发热怎么办？{TAIL}{BOT}多喝水。{TAIL}",
        f"<s>{HEAD.format('system')}{DATED}你是医生。{TAIL}{USER}发热怎么办？{TAIL}{BOT}多喝水。{TAIL}"
        f"{USER}要吃药吗？{TAIL}{BOT}暂时不用。{TAIL}",
        f"{USER}多久？{TAIL}{BOT}",
    ),
    "qwen3": (
        "<|im_start|>user\n发热怎么办？<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n多喝水。<|im_end|>\n",
        "<|im_start|>system\n你是医生。<|im_end|>\n<|im_start|>user\n发热怎么办？<|im_end|>\n"
        "<|im_start|>assistant\n多喝水。<|im_end|>\n<|im_start|>user\n要吃药吗？<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n暂时不用。<|im_end|>\n",
        "<|im_start|>user\n多久？<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "baichuan2": (
        "<reserved_106>发热怎么办？<reserved_107>多喝水。",
        "你是医生。<reserved_106>发热怎么办？<reserved_107>多喝水。<reserved_106>要吃药吗？<reserved_107>暂时不用。",
        "<reserved_106>多久？<reserved_107>",
    ),
}
UNCLOSED = {"chatglm3", "glm4", "baichuan2"}
"""Templates that close the last answer with nothing, so that the tokenizer's eos token is added."""


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level(bos="<s>")


def text(renderer, messages):
    return "".join(segment.text for segment in renderer.conversation(messages))


def test_every_packaged_template_has_a_golden_rendering():
    assert set(template_names()) == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(tokenizer, name):
    one, two, question = GOLDEN[name]
    eos = "</s>" if name in UNCLOSED else ""
    renderer = Renderer(tokenizer, template=name)
    assert text(renderer, ONE) == one + eos
    assert text(renderer, (SYSTEM, *TWO)) == two + eos
    history = two.replace("<think>\n\n</think>\n\n", "")
    assert renderer.prompt((SYSTEM, *TWO, Message("user", "多久？"))) == history + question


@pytest.mark.parametrize("name", GOLDEN)
def test_the_same_text_comes_out_of_transformers(tokenizer, name):
    """A model folder is saved with the template; other tools render it with ``apply_chat_template``."""
    saved = byte_level(bos="<s>", chat_template=load_template(name))
    rows = [{"role": message.role, "content": message.content} for message in (SYSTEM, *TWO)]
    eos = "</s>" if name in UNCLOSED else ""
    assert saved.apply_chat_template(rows, tokenize=False) + eos == GOLDEN[name][1] + eos
    assert text(Renderer(saved), (SYSTEM, *TWO)) == GOLDEN[name][1] + eos


def test_qwen3_prints_reasoning_after_the_last_question_only(tokenizer):
    thought = "<think>\n多休息？\n</think>\n\n休息。"
    messages = (Message("user", "累"), Message("assistant", thought)) * 2
    assert text(Renderer(tokenizer, template="qwen3"), messages) == (
        "<|im_start|>user\n累<|im_end|>\n<|im_start|>assistant\n休息。<|im_end|>\n"
        f"<|im_start|>user\n累<|im_end|>\n<|im_start|>assistant\n{thought}<|im_end|>\n"
    )
    thinking = Renderer(tokenizer, template="qwen3", reasoning="keep")
    assert thinking.prompt(messages[:1]) == "<|im_start|>user\n累<|im_end|>\n<|im_start|>assistant\n"


def test_tool_results_go_out_as_each_family_writes_them(tokenizer):
    messages = (
        Message("user", "查"),
        Message("assistant", "好"),
        Message("tool", "37.5"),
        Message("assistant", "低热"),
    )
    qwen = "<|im_start|>user\n<tool_response>\n37.5\n</tool_response><|im_end|>\n"
    assert qwen in text(Renderer(tokenizer, template="qwen2"), messages)
    assert qwen in text(Renderer(tokenizer, template="qwen3"), messages)
    assert "<|observation|>\n37.5" in text(Renderer(tokenizer, template="glm4"), messages)


@pytest.mark.parametrize("name", ["qwen3", "llama3"])
@pytest.mark.parametrize("generation", [False, True])
def test_equal_to_the_templates_that_trl_ships(name, generation):
    """TRL carries the originals for its own tests."""
    trl = pytest.importorskip("trl")
    from importlib.resources import files

    original = files(trl).joinpath("chat_templates", f"{name}.jinja").read_text(encoding="utf-8")
    thought = "<think>\n多休息？\n</think>\n\n休息。"
    talks = [
        ONE,
        (SYSTEM, *TWO),
        (SYSTEM, *ONE, Message("user", " 多久？\n"), Message("assistant", thought)),
        (*ONE, Message("user", "再问"), Message("assistant", "查"), Message("assistant", "完")),
        (
            Message("user", "查"),
            Message("assistant", thought),
            Message("user", "<tool_response>1</tool_response>"),
        ),
    ]
    if name == "qwen3":
        talks.append(
            (*ONE, Message("tool", "37.5"), Message("tool", "120/80"), Message("assistant", thought))
        )
        talks.append((Message("user", "累"), Message("assistant", thought), Message("system", "改"), *ONE))
    tokenizer = byte_level(bos="<s>")
    for talk in talks:
        rows = [{"role": message.role, "content": message.content} for message in talk]
        ours, theirs = (
            tokenizer.apply_chat_template(
                rows,
                chat_template=source,
                tokenize=False,
                add_generation_prompt=generation,
                enable_thinking=False,
            )
            for source in (load_template(name), original)
        )
        assert ours == theirs


TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "查价",
            "description": "a <drug> & its price",
            "parameters": {"type": "object", "properties": {"drug": {"type": "string"}}},
        },
    },
)
CALL = ToolCall("查价", {"drug": '布"洛芬', "boxes": 2, "of": {"x": ["a", "b"]}, "none": None})
RESULT = Message("tool", '{"price": "12"}')
ASK = Message("user", "多少钱？")
THOUGHT = "<think>\n查一下\n</think>\n\n"
TOOL_TALKS = [
    (ASK, Message("assistant", "", tool_calls=(CALL,)), RESULT, Message("assistant", "12 元。"), *ONE),
    (SYSTEM, ASK, Message("assistant", "", tool_calls=(CALL,))),
    (SYSTEM, *ONE, ASK, Message("assistant", "", False, (CALL,)), RESULT, RESULT, Message("assistant", "贵")),
]
SPOKEN_TOOL_TALKS = [  # a text beside the call, or several calls, or reasoning: more than Llama-3.1 takes
    (
        ASK,
        Message("assistant", "查。", tool_calls=(CALL, ToolCall("查价", {}))),
        RESULT,
        Message("assistant", "贵"),
    ),
    (ASK, Message("assistant", THOUGHT, tool_calls=(CALL,)), RESULT, Message("assistant", THOUGHT + "贵")),
    (ASK, Message("assistant", THOUGHT + "查。", tool_calls=(CALL,))),
]


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3_1"])
@pytest.mark.parametrize("tools", [(), TOOLS], ids=["not described", "described"])
def test_tools_as_the_originals_that_trl_ships(name, tools):
    trl = pytest.importorskip("trl")
    from importlib.resources import files

    original = files(trl).joinpath("chat_templates", f"{name}.jinja").read_text(encoding="utf-8")
    tokenizer = byte_level(bos="<s>")
    renderer = Renderer(tokenizer, template=name)
    for talk in TOOL_TALKS + (SPOKEN_TOOL_TALKS if name != "llama3_1" else []):
        rows = rows_of(shape_of(talk), [pieces_of(message) for message in talk])
        kwargs = {"tokenize": False, "enable_thinking": False, "tools": list(tools) or None}
        theirs = tokenizer.apply_chat_template(rows, chat_template=original, **kwargs)
        assert "".join(segment.text for segment in renderer.conversation(talk, tools=tools)) == theirs
        asked = talk[:-1]
        theirs = tokenizer.apply_chat_template(
            rows[:-1], chat_template=original, add_generation_prompt=True, **kwargs
        )
        assert renderer.prompt(asked, tools=tools) == theirs


def test_tools_of_glm4():
    """A call is a turn that opens with the name; the schema stands in a system turn of its own."""
    renderer = Renderer(byte_level(bos="<s>"), template="glm4")
    segments = renderer.conversation(TOOL_TALKS[1], tools=TOOLS)
    schema = json.dumps(TOOLS[0]["function"], ensure_ascii=False, indent=4)
    assert "".join(segment.text for segment in segments) == (
        "[gMASK]<sop><|system|>\n你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，"
        f"你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具\n\n## 查价\n\n{schema}\n"
        "在调用上述函数时，请使用 Json 格式表示调用的参数。<|system|>\n你是医生。<|user|>\n多少钱？<|assistant|>查价\n"
        '{"drug": "布\\"洛芬", "boxes": 2, "of": {"x": ["a", "b"]}, "none": null}</s>'
    )


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'qwen2_5'"):
        load_template("qwen2_5x")
