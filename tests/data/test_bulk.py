"""fastokens gives the tokens of tokenizers, or is not used; and it is found out where it does not."""

import json
from functools import cache

import fastokens
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_toys import TEXTS, byte_level, sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from xinglin.data.bulk import EVERY, PATTERNS, BulkEncoder, Disagreement
from xinglin.data.encoding import Segment, SegmentEncoder
from xinglin.data.rendering import Renderer
from xinglin.data.splits import Tokenising, make_shards
from xinglin.data.templates import load_template

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PIECES = (
    *(" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\u00a0", "\u2028", "\x85", "\x00"),
    *("'s", "'LL", "'re", "'ſ", "ſ", "don't", "'", '"', ".", "!\n", "…", "，", "。", "；", "/"),
    *("1", "２", "½", "①", "12345", "a", "AbC", "é", "e\u0301", "\u3099", "ﬁ", "Å", "ǅ", "ʰ"),
    *("中", "患者发热三天", "药", "ขา", "한글", "العربية", "हिन्दी", "😀", "👩‍👩‍👧", "\U0002450a"),
    *("<think>", "</think>", "<|im_", *SPECIAL),
)
wild = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.tuples(st.sampled_from(PIECES), st.integers(1, 3000)).map(lambda pair: pair[0] * pair[1]),
)
KINDS = [(cut, composed) for cut in (None, *PATTERNS) for composed in (False, True)]


@cache
def encoder(cut: str | None, composed: bool) -> BulkEncoder:
    """Merges are learned on text that is cut anywhere, so that they cross every boundary that ``cut`` may set."""
    core = Tokenizer(models.BPE(ignore_merges=cut == "llama3"))
    split = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([split(r"[\s\S]{1,12}"), bytes_only])
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(PIECES, 12)) for _ in range(2000)]
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.pre_tokenizer = (
        pre_tokenizers.Sequence([split(PATTERNS[cut]), bytes_only])
        if cut
        else (pre_tokenizers.ByteLevel(add_prefix_space=False))
    )
    core.normalizer = normalizers.NFC() if composed else None
    core.decoder = decoders.ByteLevel()
    core.add_tokens(["<think>", AddedToken("</think>", normalized=False)])
    made = BulkEncoder.of(core)
    assert made is not None
    return made


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(wild, max_size=20), plain=st.booleans())
def test_any_text_has_the_tokens_of_tokenizers(kind, texts, plain):
    bulk = encoder(*kind)
    backend = bulk._backend
    backend.encode_special_tokens = plain
    try:
        expected = [backend.encode(text, add_special_tokens=False).ids for text in texts]
        assert [part.tolist() for part in bulk.encode(texts).parts()] == expected
    finally:
        backend.encode_special_tokens = False


@cache
def segment_encoder() -> SegmentEncoder:
    segments = SegmentEncoder(byte_level())
    assert segments.expect(1 << 30)
    return segments


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.tuples(wild, st.sampled_from([0, 1, 0.5]), st.booleans()), min_size=1), max_size=8)
)
def test_rows_are_the_sum_of_their_segments(rows):
    """The oracle: ``Tokenizer.encode``, one segment after another."""
    segments = segment_encoder()
    backend = segments.backend
    encoded = segments.encode([tuple(Segment(*each) for each in row) for row in rows])
    for row, got in zip(rows, encoded, strict=True):
        ids, weights = [], []
        for text, weight, plain in row:
            backend.encode_special_tokens = plain
            own = backend.encode(text, add_special_tokens=False).ids
            ids, weights = ids + own, weights + [weight] * len(own)
        backend.encode_special_tokens = False
        assert (got.ids.tolist(), got.weights.tolist()) == (ids, weights)
        assert (got.ids.dtype, got.weights.dtype) == (np.int32, np.float32)


def changed(**parts):
    """A tokenizer of a known kind with a few settings of its JSON changed."""
    facts = json.loads(byte_level().backend_tokenizer.to_str())
    for path, value in parts.items():
        *outer, last = path.split("__")
        inner = facts
        for name in outer:
            inner = inner[int(name) if name.isdigit() else name]
        inner[last] = value
    return Tokenizer.from_str(json.dumps(facts))


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "NFKC"}},
        {"pre_tokenizer__add_prefix_space": True},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
        {"added_tokens__0__lstrip": True},
        {"added_tokens__0__single_word": True},
        {"model__dropout": 0.5},
        {"model__end_of_word_suffix": "</w>"},
    ],
    ids=str,
)
def test_other_kinds_of_tokenizers_are_left_alone(parts):
    assert BulkEncoder.of(byte_level().backend_tokenizer) is not None
    assert BulkEncoder.of(changed(**parts)) is None


def test_sentencepiece_and_little_text_are_encoded_as_before():
    assert not SegmentEncoder(sentencepiece()).expect(1 << 30)
    assert not SegmentEncoder(byte_level()).expect(1000)


def confuse(bulk: BulkEncoder) -> None:
    """Let fastokens know another vocabulary: the same tokens, merged otherwise."""
    facts = json.loads(bulk._backend.to_str())
    facts["model"]["merges"] = facts["model"]["merges"][:20]
    bulk._fast = fastokens.Tokenizer.from_json_str(json.dumps(facts))


def test_what_does_not_pass_the_probes_is_not_used(monkeypatch, capsys):
    class Confused(BulkEncoder):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            confuse(self)

    assert Confused.of(byte_level().backend_tokenizer) is None
    assert "fastokens and tokenizers give different tokens for" in capsys.readouterr().out


def test_one_text_in_many_is_encoded_twice():
    bulk = BulkEncoder.of(byte_level().backend_tokenizer)
    confuse(bulk)
    bulk._seen = 1
    bulk.encode([TEXTS[1]] * (EVERY - 1))
    with pytest.raises(Disagreement, match="the patient"):
        bulk.encode([TEXTS[1]])


def rendered():
    return Renderer(byte_level(chat_template=load_template("chatml")))


def make(folder, path, renderer):
    make_shards(folder, path, Tokenising(renderer, 512, "split"))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_shards_in_doubt_are_made_again(tmp_path, monkeypatch, capsys):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{row}"},
                {"role": "assistant", "content": TEXTS[1] * row},
            ]
        }
        for row in range(1, 100)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    doubtful = rendered()
    assert doubtful.expect(1 << 30)
    confuse(doubtful._encoder._bulk)
    doubtful._encoder._bulk._seen = 1
    made = make(tmp_path / "doubtful", path, doubtful)
    assert "encoded without it from now on" in capsys.readouterr().out
    assert not doubtful.expect(1 << 30)
    monkeypatch.setattr(BulkEncoder, "of", lambda backend: None)
    assert made == make(tmp_path / "sure", path, rendered())


@pytest.mark.parametrize("name", ["medical_sft_1K_format.jsonl", "dpo_zh_500.jsonl"])
def test_real_rows_have_the_same_tokens_and_masks(name, tmp_path, shared, read_source, monkeypatch):
    records = read_source(shared / "train" / "medicalgpt" / name).records
    path = tmp_path / "train.jsonl"
    lines = (json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
    fast = rendered()
    made = make(tmp_path / "fast", path, fast)
    assert fast.bulk
    monkeypatch.setattr(BulkEncoder, "of", lambda backend: None)
    assert made == make(tmp_path / "slow", path, rendered())
