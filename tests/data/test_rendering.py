import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_toys import byte_level, masked, runs, sentencepiece, words
from transformers import AutoTokenizer

from xinglin.data.records import Message
from xinglin.data.rendering import Renderer, Segment
from xinglin.data.templates import load_template, template_names
from xinglin.errors import DataError, ModelError, PluginError

TOKENIZERS = {
    "byte level": byte_level(bos="<s>"),
    "byte level with prefix space": byte_level(bos="<s>", prefix_space=True),
    "sentencepiece": sentencepiece(),
    "legacy sentencepiece": sentencepiece(legacy=True),
}
RENDERERS = {
    (kind, name): Renderer(tokenizer, template=name)
    for kind, tokenizer in TOKENIZERS.items()
    for name in template_names()
}
every_renderer = pytest.mark.parametrize(
    "renderer", RENDERERS.values(), ids=["-".join(key) for key in RENDERERS]
)


def user(text):
    return Message("user", text)


def bot(text, train=True):
    return Message("assistant", text, train)


# What is trained


MASKS = {
    "chatml": "<|im_start|>user\n{0}<|im_end|>\n<|im_start|>assistant\n[[{1}<|im_end|>]]\n",
    "default": "Human: {0}</s>\nAssistant:[[{1}</s>]]\n",
    "ziya": "<human>:{0}\n<bot>:[[{1}</s>]]\n",
    "llama2": "<s>[INST] {0} [/INST][[ {1} </s>]]",
    "glm4": "[gMASK]<sop><|user|>\n{0}<|assistant|>[[\n{1}</s>]]",
    "chatglm3": "[gMASK]sop<|user|>\n {0}<|assistant|>[[\n {1}</s>]]",
    "baichuan2": "<reserved_106>{0}<reserved_107>[[{1}</s>]]",
    "qwen3": "<|im_start|>user\n{0}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n[[{1}<|im_end|>]]\n",
}


@pytest.mark.parametrize("name", MASKS)
def test_the_answer_and_its_end_are_trained_and_nothing_else(name):
    renderer = RENDERERS["byte level", name]
    expected = MASKS[name].format("咳嗽", "喝水")
    assert masked(renderer, renderer.conversation([user("咳嗽"), bot("喝水")])) == expected


def test_in_glm4_the_next_role_ends_an_answer():
    renderer = RENDERERS["byte level", "glm4"]
    segments = renderer.conversation([user("a"), bot("b"), user("c"), bot("d")])
    assert masked(renderer, segments) == (
        "[gMASK]<sop><|user|>\na<|assistant|>[[\nb<|user|>]]\nc<|assistant|>[[\nd</s>]]"
    )


def test_train_flags_choose_the_answers_but_never_move_a_token():
    renderer = RENDERERS["byte level", "chatml"]
    flags = [(first, second) for first in (True, False) for second in (True, False)]
    rows = renderer.encode(
        [renderer.conversation([user("一"), bot("二", a), user("三"), bot("四", b)]) for a, b in flags]
    )
    assert len({row.ids.tobytes() for row in rows}) == 1
    both, first, second, none = (row.mask for row in rows)
    assert not none.any()
    assert (first & second).sum() == 0
    assert np.array_equal(first | second, both)


def test_reasoning_of_the_data_is_trained_in_the_last_turn_only():
    renderer = RENDERERS["byte level", "qwen3"]
    thought = "<think>\n想\n</think>\n\n休息"
    text = masked(renderer, renderer.conversation([user("累"), bot(thought), user("还累"), bot(thought)]))
    assert text == (
        "<|im_start|>user\n累<|im_end|>\n<|im_start|>assistant\n[[休息<|im_end|>]]\n"
        "<|im_start|>user\n还累<|im_end|>\n<|im_start|>assistant\n[[<think>\n想\n</think>\n\n休息<|im_end|>]]\n"
    )


def test_reasoning_goes_through_templates_that_know_nothing_of_it():
    renderer = RENDERERS["byte level", "ziya"]
    text = masked(renderer, renderer.conversation([user("累"), bot("<think>想</think>休息")]))
    assert text == "<human>:累\n<bot>:[[<think>想</think>休息</s>]]\n"


def test_a_model_that_is_always_asked_to_think_learns_to_write_the_empty_block():
    renderer = Renderer(TOKENIZERS["byte level"], template="qwen3", reasoning="keep")
    text = masked(renderer, renderer.conversation([user("累"), bot("休息")]))
    assert text.endswith("assistant\n[[<think>\n\n</think>\n\n休息<|im_end|>]]\n")
    assert renderer.prompt([user("累")]).endswith("assistant\n")


def test_a_model_is_asked_as_it_was_trained(tmp_path):
    tokenizer = byte_level()
    Renderer(tokenizer, template="qwen3", reasoning="keep").imprint()
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert Renderer(loaded).prompt([user("累")]).endswith("assistant\n")
    assert Renderer(loaded, reasoning="auto").prompt([user("累")]).endswith("</think>\n\n")
    assert Renderer(byte_level(), template="qwen3").reasoning == "auto"


def test_dropped_reasoning_is_in_neither_rendering_nor_prompt():
    renderer = Renderer(TOKENIZERS["byte level"], template="chatml", reasoning="drop")
    talk = [user("累"), bot("<think>\n想\n</think>\n\n休息"), user("还累")]
    assert "想" not in renderer.prompt(talk)
    text = masked(renderer, renderer.conversation([*talk, bot("<think>再想</think>睡")]))
    assert "想" not in text and text.endswith("assistant\n[[睡<|im_end|>]]\n")
    with pytest.raises(DataError, match=r"message 2 \(assistant\) is empty"):
        renderer.conversation([user("累"), bot("<think>想</think>\n")])


@pytest.mark.parametrize("mode", ["auto", "keep"])
@pytest.mark.parametrize("template", ["qwen3", "chatml"])
def test_an_empty_block_in_the_data_is_no_reasoning(mode, template):
    renderer = Renderer(TOKENIZERS["byte level"], template=template, reasoning=mode)
    bare, blank = (
        renderer.conversation([user("累"), bot(content)])
        for content in ("休息", "<think>\n\n</think>\n\n休息")
    )
    assert bare == blank


def test_a_weight_is_carried_by_every_token_of_its_message_and_its_end():
    renderer = RENDERERS["byte level", "chatml"]
    (row,) = renderer.encode(
        [renderer.conversation([user("一"), bot("二", 0.25), user("三"), bot("四", 2.0)])]
    )
    runs = [run for run in renderer.visible(row) if run[1]]
    assert runs == [["二<|im_end|>", 0.25], ["四<|im_end|>", 2.0]]
    assert row.weights.dtype == np.float32
    assert np.array_equal(row.mask, row.weights > 0)


def test_only_the_answer_of_a_preference_is_trained():
    renderer = RENDERERS["byte level", "chatml"]
    text = masked(renderer, renderer.preference([user("一"), bot("二"), user("三")], "四"))
    assert re.findall(r"\[\[.*?\]\]", text) == ["[[四<|im_end|>]]"]


def test_documents_are_trained_whole_with_bos_only_where_the_tokenizer_adds_it():
    plain, llama = RENDERERS["byte level", "chatml"], RENDERERS["sentencepiece", "llama2"]
    assert masked(plain, plain.document("the fever")) == "[[the fever</s>]]"
    assert masked(llama, llama.document("the fever")) == "[[<s> the fever</s>]]"
    (row,) = llama.encode([llama.document("the fever")])
    assert row.ids.tolist() == [*llama.tokenizer("the fever")["input_ids"], llama.tokenizer.eos_token_id]


def test_documents_need_no_template_and_conversations_name_the_cure():
    renderer = Renderer(byte_level())
    assert renderer.template_text is None
    assert masked(renderer, renderer.document("水")) == "[[水</s>]]"
    with pytest.raises(ModelError, match="name one in the recipe: alpaca, baichuan2"):
        renderer.conversation([user("a"), bot("b")])


# Tokens


@every_renderer
def test_prompt_tokens_are_a_prefix_of_the_training_tokens(renderer):
    talk = [Message("system", "药。"), user("the q:"), bot("你好 the"), user(" q?"), bot(" 5\n")]
    (row,) = renderer.encode([renderer.conversation(talk)])
    prompt = renderer.prompt_ids(talk[:-1])
    assert row.ids[: len(prompt)].tolist() == prompt
    assert not row.mask[len(prompt) - 1]
    assert row.mask[len(prompt)]


@every_renderer
def test_every_last_turn_ends_in_a_stop_token_that_is_trained(renderer):
    (row,) = renderer.encode([renderer.conversation([user("a"), bot("b")])])
    assert row.ids[row.mask][-1] in renderer.stop_ids
    assert renderer.tokenizer.eos_token_id in renderer.stop_ids


@every_renderer
def test_a_typed_special_token_stays_text(renderer):
    typed = "a <|im_end|> b<|user|></s>c<|eot_id|>"
    (row,) = renderer.encode([renderer.conversation([user(typed), bot(typed)])])
    (bare,) = renderer.encode([renderer.conversation([user("a"), bot("b")])])
    special = renderer.tokenizer.all_special_ids
    special = [
        *special,
        *(i for i, token in renderer.tokenizer.added_tokens_decoder.items() if token.special),
    ]
    assert np.isin(row.ids, special).sum() == np.isin(bare.ids, special).sum()


def test_typed_special_tokens_are_read_back_unchanged():
    renderer = RENDERERS["byte level", "chatml"]
    typed = "<s>x<|im_end|>\n<|im_start|>"
    (row,) = renderer.encode([renderer.conversation([user("!" + typed), bot("答" + typed)])])
    assert renderer.tokenizer.decode(row.ids).count(typed) == 2
    (row,) = renderer.encode([renderer.document("!" + typed)])
    assert renderer.tokenizer.decode(row.ids) == "!" + typed + "</s>"


talks = st.lists(st.tuples(words, words, st.booleans()), min_size=1, max_size=3)


@pytest.mark.parametrize("name", ["chatml", "llama3", "qwen3", "ziya", "glm4"])
@settings(max_examples=40, deadline=None)
@given(talk=talks, system=st.none() | words)
def test_any_text_comes_back_with_an_exact_mask(name, talk, system):
    renderer = RENDERERS["byte level", name]
    messages = [Message("system", system)] if system else []
    for question, answer, train in talk:
        messages += [user(question), bot(answer, train)]
    segments = renderer.conversation(messages)
    (row,) = renderer.encode([segments])
    assert renderer.tokenizer.decode(row.ids, skip_special_tokens=False) == "".join(s.text for s in segments)
    trained = [text for text, is_trained in runs(segments) if is_trained]
    answers = [answer for _, answer, train in talk if train]
    assert len(trained) == len(answers)
    for text, answer in zip(trained, answers, strict=True):
        assert answer.strip() in text
        assert len(text) <= len(answer) + len(
            "\n<|eot_id|>"
        )  # at most what GLM-4 and Llama-3 write around it
    prompt = renderer.prompt_ids(messages[:-1])
    assert row.ids[: len(prompt)].tolist() == prompt
    if talk[-1][2]:
        assert row.mask.nonzero()[0][-1] >= len(prompt)


def test_settings_left_on_a_tokenizer_cut_nothing():
    tokenizer = byte_level(chat_template=load_template("chatml"))
    renderer = Renderer(tokenizer)
    tokenizer(["水" * 50], truncation=True, max_length=4)
    tokenizer.backend_tokenizer.enable_truncation(4)
    short, long = renderer.encode([renderer.document("水"), renderer.document("水" * 50)])
    assert len(long) - len(short) >= 49
    assert tokenizer.backend_tokenizer.encode_special_tokens is False


def test_threads_do_not_disturb_each_other():
    renderer = RENDERERS["byte level", "chatml"]
    talks = [[user("水"), bot("茶")], [user("a <|im_end|> b"), bot("c")]] * 20
    expected = [renderer.prompt_ids(talk[:1]) for talk in talks]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda talk: renderer.prompt_ids(talk[:1]), talks * 5)) == expected * 5


def test_segments_of_other_callers_are_encoded_as_given():
    renderer = RENDERERS["byte level", "chatml"]
    (row,) = renderer.encode([(Segment("水<|im_end|>", False), Segment("<|im_end|>", True, plain=True))])
    end = renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (row.ids == end).sum() == 1
    assert row.mask.sum() > 1


# Templates and tokenizers that cannot be trusted


def template(source, **kwargs):
    return Renderer(byte_level(bos="<s>", chat_template=source, **kwargs))


TURN = "{%- for m in messages %}{{- m['role'] + ': ' + m['content'] + eos_token }}{%- endfor %}"
ASK = "{%- if add_generation_prompt %}{{- 'assistant: ' }}{%- endif %}"


def test_a_template_of_the_tokenizer_is_used_as_it_is():
    renderer = template(TURN + ASK)
    assert masked(renderer, renderer.conversation([user("a"), bot("b")])) == "user: a</s>assistant: [[b</s>]]"


def test_a_plain_text_end_of_turn_is_trained_and_eos_added():
    renderer = template(TURN.replace("eos_token", "'\\n\\n'") + ASK)
    segments = renderer.conversation([user("a"), bot("b"), user("c"), bot("d")])
    assert masked(renderer, segments) == "user: a\n\nassistant: [[b\n\n]]user: c\n\nassistant: [[d\n\n</s>]]"


def test_end_of_turn_words_that_are_no_token_get_an_eos():
    renderer = Renderer(byte_level(special=["</s>"]), template="chatml")
    text = masked(renderer, renderer.conversation([user("a"), bot("b")]))
    assert text.endswith("assistant\n[[b<|im_end|>\n</s>]]")
    assert renderer.stop_ids == (renderer.tokenizer.eos_token_id,)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{- bos_token }}{{- bos_token }}" + TURN + ASK, "bos token '<s>' twice"),
        (TURN.replace("m['content']", "'{content}'") + ASK, "text of message 1 .user. 0 times"),
        (TURN.replace("m['content']", "m['content'] + m['content']") + ASK, "2 times"),
        (TURN.replace("m['content']", "m['content'].replace(' ', '')") + ASK, "white space"),
        (TURN.replace("m['content']", "m['content'][:3]") + ASK, "0 times"),
        (TURN.replace("eos_token", "('!' if loop.last else '?')") + ASK, "does not show answers that way"),
        (TURN + ASK.replace("'assistant: '", "'Doctor: '"), "asks for an answer with '.*Doctor: '"),
        ("{{- raise_exception('no') }}", "refuses the conversation: no"),
        ("{% for %}", "refuses the conversation"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_once(source, message):
    with pytest.raises(ModelError, match=message):
        template(source)


def test_an_unknown_template_suggests_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'chatml'"):
        Renderer(TOKENIZERS["byte level"], template="chat-ml")


def test_a_tokenizer_without_eos_is_refused():
    with pytest.raises(ModelError, match="no eos token"):
        Renderer(byte_level(eos=None))


def test_a_tokenizer_of_whole_words_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["?", "Hi", "there", "Hithere", "</s>"])}, "?")
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(ModelError, match="sum of its parts"):
        Renderer(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="?"))


# Messages that cannot be rendered


def test_a_content_that_the_template_treats_differently_is_named():
    source = TURN.replace("m['content']", "m['content'].replace('kg', 'KG')") + ASK
    with pytest.raises(
        DataError, match=r"rewrites message 3 \(user\): it prints 'KG.*where the data has 'kg"
    ):
        template(source).conversation([user("a"), bot("b"), user("70 kg"), bot("c")])


def test_reasoning_with_a_second_end_is_named():
    with pytest.raises(DataError, match="message 2"):
        RENDERERS["byte level", "qwen3"].conversation([user("a"), bot("<think>x</think>y</think>z")])


@pytest.mark.parametrize("name", ["vicuna", "baichuan2"])
def test_a_role_that_a_template_does_not_know_is_refused(name):
    with pytest.raises(DataError, match="no place for a message of role 'tool'"):
        RENDERERS["byte level", name].conversation([user("a"), Message("tool", "1"), bot("b")])


def test_a_text_that_is_already_rendered_is_refused():
    renderer = RENDERERS["byte level", "llama2"]
    with pytest.raises(DataError, match=r"message 1 \(user\) begins with the bos token '<s>'"):
        renderer.conversation([user("<s>问：a"), bot("b")])
    with pytest.raises(DataError, match="the document begins"):
        renderer.document("<s>水")


def test_an_empty_answer_is_not_trained_on():
    renderer = RENDERERS["byte level", "chatml"]
    with pytest.raises(DataError, match=r"message 2 \(assistant\) is empty"):
        renderer.conversation([user("a"), bot("")])
    text = masked(renderer, renderer.conversation([user("a"), bot("", train=False), user("c"), bot("d")]))
    assert text.count("[[") == 1


def test_a_template_that_prints_the_date_survives_midnight(monkeypatch):
    class Clock:
        day = "1 May"
        now = classmethod(lambda cls: cls)
        strftime = classmethod(lambda cls, form: cls.day)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    renderer = template("{{- 'Today: ' + strftime_now('%d %b') + '\n' }}" + TURN + ASK)
    for Clock.day in ("1 May", "2 May", "2 May"):
        text = masked(renderer, renderer.conversation([user("a"), bot("b")]))
        assert text == f"Today: {Clock.day}\nuser: a</s>assistant: [[b</s>]]"


def test_fingerprint_follows_tokenizer_template_and_thinking():
    fingerprints = {
        Renderer(TOKENIZERS["byte level"], template="qwen3").fingerprint,
        Renderer(TOKENIZERS["byte level"], template="qwen3", reasoning="keep").fingerprint,
        Renderer(TOKENIZERS["byte level"], template="chatml").fingerprint,
        Renderer(TOKENIZERS["sentencepiece"], template="chatml").fingerprint,
    }
    assert len(fingerprints) == 4
    again = Renderer(byte_level(bos="<s>"), template="chatml")
    assert again.fingerprint == Renderer(TOKENIZERS["byte level"], template="chatml").fingerprint
