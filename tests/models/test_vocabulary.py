"""New tokens: old text keeps its tokens, new text takes fewer, every text comes back, the order is fixed."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabulary_toys import CHINESE, ENGLISH, llama_like, qwen_like

from xinglin.data.rendering import Renderer
from xinglin.errors import ModelError
from xinglin.models.tokenizer import load_tokenizer, train_tokenizer
from xinglin.models.vocabulary import (
    count_characters,
    count_tokens,
    extend_tokenizer,
    in_order,
    is_chinese,
    new_characters,
    new_pieces,
)

BASES = {
    "llama": llama_like,
    "qwen": qwen_like,
    "english_bytes": lambda: train_tokenizer(ENGLISH * 4, vocabulary=330),
}
SPELLED = st.text(
    st.sampled_from("".join({*"".join(ENGLISH + CHINESE)}) + "痛疼\n\t ①é😀ａ"), max_size=60
) | st.text(max_size=20)


def learn(base, texts, *, characters=25, pieces=30, min_count=1):
    """The tokens, in the order of their ids, and the extended tokenizer."""
    found = in_order(new_characters(base, count_characters(texts), number=characters, min_count=min_count))
    middle = extend_tokenizer(base, found)
    merged = new_pieces(middle, texts, number=pieces, min_count=min_count)
    return [*found, *merged], extend_tokenizer(middle, merged)


@pytest.fixture(scope="module", params=BASES)
def extended(request):
    base = BASES[request.param]()
    return base, *learn(base, CHINESE + ENGLISH * 2)


def encode(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@given(SPELLED)
@settings(deadline=None, max_examples=200)
def test_text_without_new_tokens_is_encoded_as_before_and_all_text_comes_back(extended, text):
    base, tokens, tokenizer = extended
    before, after = encode(base, text), encode(tokenizer, text)
    if not any(token.text in text for token in tokens):
        assert after == before
    assert tokenizer.backend_tokenizer.decode(after) == base.backend_tokenizer.decode(before)
    assert len(after) <= len(before)


def test_every_new_token_is_used(extended):
    base, tokens, tokenizer = extended
    assert len(tokenizer) == len(base) + len(tokens) and sum(len(token.text) == 1 for token in tokens) == 25
    for number, token in enumerate(tokens, start=len(base)):
        assert encode(tokenizer, f"x{token.text}").count(number) == 1
        parts = [
            part
            for each in token.parts
            for part in ([each] if each < len(base) else tokens[each - len(base)].parts)
        ]
        assert base.decode(parts).strip() == token.text.strip()
    before, after = count_tokens(base, tokenizer, CHINESE)
    assert after < 0.7 * before


def test_special_tokens_stay_where_they_are(extended, tmp_path):
    base, _, tokenizer = extended
    assert base.get_vocab().items() <= tokenizer.get_vocab().items()
    assert tokenizer.special_tokens_map == base.special_tokens_map
    text = f"高血压{base.eos_token}患者"
    assert encode(tokenizer, text).count(base.eos_token_id) == 1
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert again.get_vocab() == tokenizer.get_vocab() and encode(again, text) == encode(tokenizer, text)


def test_a_template_that_spells_new_characters_is_text(extended):
    """A character that is an added token does not end a turn."""
    base, _, tokenizer = extended
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}患者：{{ m.content }}\n"
        "{% else %}血压：{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}血压：{% endif %}"
    )
    stops = []
    for each in (base, tokenizer):
        each.chat_template = template
        stops.append(Renderer(each).stop_ids)
    assert stops[0] == stops[1]


def test_the_order_is_by_count_then_code_point_and_by_nothing_else():
    counts = count_characters(["丙丁乙甲乙甲丙丙 abc"])
    assert counts == Counter({"丙": 3, "乙": 2, "甲": 2, "丁": 1})
    found = new_characters(llama_like(), counts, number=3, min_count=1)
    assert [token.text for token in found] == ["丙", "乙", "甲"]
    assert len(new_characters(llama_like(), counts, number=9, min_count=2)) == 3


def test_neither_hash_seed_nor_order_of_texts_matters():
    code = (
        "import random; from test_vocabulary import *; texts = CHINESE + ENGLISH;"
        "random.Random({seed}).shuffle(texts); tokens, _ = learn(llama_like(), texts * 3);"
        "print([token[:3] for token in tokens])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code.format(seed=seed)],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1 and "高血压" in found.pop()


def test_pieces_are_words_of_one_script(extended):
    """What is learnt on text that mixes everything: letters or Chinese, never digits, punctuation or both scripts."""
    base, _, _ = extended
    pool = random.Random(0)
    texts = ["".join(pool.choices("ab 糖尿12，.患者", k=40)) for _ in range(200)]
    tokens, _ = learn(base, texts, characters=9, pieces=60)
    pieces = [token.text.removeprefix(" ") for token in tokens if len(token.text) > 1]
    assert pieces and all(piece.isalpha() and len(set(map(is_chinese, piece))) == 1 for piece in pieces)


def test_a_tokenizer_without_merges_takes_no_pieces(tokenizer):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    )
    with pytest.raises(ModelError, match="WordLevel model, to which no pieces can be merged"):
        new_pieces(words, CHINESE, number=5, min_count=1)
