"""Base tokenizers that know English only, in the two forms that open models have."""

import json

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaTokenizer, Qwen2Tokenizer

ENGLISH = [
    "Chest pain with sweating needs an ambulance at once.",
    "Drink water, rest, and take paracetamol for the fever.",
    "The patient was treated with antibiotics for pneumonia, and went home after three days.",
]
CHINESE = [
    "高血压患者应低盐饮食，规律服用氨氯地平，每天测量血压。",
    "糖尿病患者应控制血糖，规律服用二甲双胍。",
    "高血压和糖尿病患者都应定期测量血压和血糖。",
]


def llama_like():
    """SentencePiece's form: byte fallback, a space before the first word, the whole text one word."""
    trained = _trained(pre_tokenizers.Metaspace(prepend_scheme="first", split=True), ENGLISH, size=160)
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *trained["vocab"]]
    tokenizer = LlamaTokenizer(
        vocab={name: number for number, name in enumerate(names)}, merges=list(map(tuple, trained["merges"]))
    )
    tokenizer.pad_token = "<unk>"
    return tokenizer


def qwen_like(texts=(*ENGLISH, *CHINESE[:1])):
    """Byte-level, special tokens behind the model's own vocabulary; characters of one or more bytes merged."""
    trained = _trained(pre_tokenizers.ByteLevel(add_prefix_space=False), texts, size=420)
    tokenizer = Qwen2Tokenizer(vocab=trained["vocab"], merges=list(map(tuple, trained["merges"])))
    special = [AddedToken(text, special=True, normalized=False) for text in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_tokens([*special, AddedToken("<tool_call>", normalized=False)])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def _trained(pre_tokenizer, texts, *, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = (
        pre_tokenizers.ByteLevel.alphabet() if isinstance(pre_tokenizer, pre_tokenizers.ByteLevel) else []
    )
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(list(texts) * 4, trainer)
    return json.loads(tokenizer.to_str())["model"]
