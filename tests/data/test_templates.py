"""Packaged templates, byte for byte, against what the originals print for the same sentences."""

import pytest
from rendering_toys import byte_level

from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
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
    thinking = Renderer(tokenizer, template="qwen3", enable_thinking=True)
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


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'qwen2'"):
        load_template("qwen2_5x")
