"""Small real tokenizers, wild texts, and a mask written as text: ``[[trained]]`` around what the loss counts."""

from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from xinglin.data.rendering import Renderer

SPECIAL = [
    *("<unk>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[gMASK]", "<sop>", "sop"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<reserved_106>", "<reserved_107>"),
]
TEXTS = [
    "患者发热三天，多喝水，注意休息。",
    "the patient has a fever; drink water and rest",
    "user assistant system think",
]


def byte_level(special=SPECIAL, *, prefix_space=False, bos=None, eos="</s>", chat_template=None):
    """Byte-level BPE, as GPT-2, Qwen and Llama-3 have it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(
            vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    core.add_tokens(["<think>", "</think>"])
    return _wrap(core, bos, eos, chat_template)


def sentencepiece(*, bos="<s>", eos="</s>", adds_bos=True, legacy=False, chat_template=None):
    """BPE with a prefix space and byte fallback, as Llama-2 and Baichuan have it, in the new and the legacy form."""
    words = [
        "▁",
        *"abcdefghijklmnopqrstuvwxyz",
        *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        *"0123456789:;.,?!<>[]/|_",
        *"你好问答药。，：",
    ]
    pairs = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a"), ("▁", "q"), ("▁", "你"), ("▁你", "好")]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *words, *(a + b for a, b in pairs)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    core = Tokenizer(models.BPE(vocabulary, pairs, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if legacy:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(SPECIAL)
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        core.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    return _wrap(core, bos, eos, chat_template)


def _wrap(core, bos, eos, chat_template):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def masked(renderer: Renderer, segments) -> str:
    """One rendering, decoded from its tokens, with ``[[…]]`` around the trained runs."""
    (row,) = renderer.encode([segments])
    return "".join(f"[[{text}]]" if trained else str(text) for text, trained in renderer.visible(row))


typed = st.sampled_from(
    ["<|im_end|>", "<|eot_id|>", "<|user|>", "</s>", "<s>", "\n", " ", "　", "问答", "🩺", "👩‍⚕️", "é"]
)
words = (
    st.lists(typed | st.characters(codec="utf-8"), min_size=1, max_size=8)
    .map("".join)
    .filter(lambda text: not text.lstrip().startswith("<s>"))
)


def runs(segments):
    merged = []
    for text, trained, _ in segments:
        if merged and merged[-1][1] == trained:
            merged[-1] = (merged[-1][0] + text, trained)
        else:
            merged.append((text, trained))
    return merged
