"""The scorers give the numbers of the libraries that everybody quotes, on ordinary and on odd texts."""

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge as RougeChinese

from xinglin.evaluate.scorers import bleu_4, longest_common_subsequence, rouge, rouge_words

jieba.initialize()  # here, so that no example is timed with it

# Few letters, so that texts overlap; and all that sentence cutting, blanks and quotes can do.
texts = st.text(alphabet="发热三天咳嗽ab.?？。！…”’， \n\t\u3000", max_size=40)
words = st.text(alphabet="ab。?.…”’ \n", max_size=40)


def oracle_bleu(prediction: str, reference: str) -> float:
    return sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)


def oracle_rouge(prediction: str, reference: str) -> tuple[float, ...]:
    """As the predict step of LLaMA-Factory calls it: a text without words scores 0."""
    if not prediction.split() or not reference.split():
        return 0.0, 0.0, 0.0
    scores = RougeChinese().get_scores(prediction, reference)[0]
    return tuple(scores[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l"))


@pytest.mark.parity
@given(texts, texts)
def test_bleu_equals_nltk(prediction: str, reference: str) -> None:
    assert bleu_4(prediction, reference=reference) == pytest.approx(
        oracle_bleu(prediction, reference), abs=1e-12
    )


@pytest.mark.parity
@given(words, words)
def test_rouge_equals_rouge_chinese_on_words(prediction: str, reference: str) -> None:
    ours = rouge_words(prediction, reference=reference)
    assert ours == pytest.approx(oracle_rouge(prediction, reference), abs=1e-12)


@pytest.mark.parity
@given(texts, texts)
def test_rouge_cuts_chinese_with_jieba(prediction: str, reference: str) -> None:
    reference = "咳" + reference
    expected = oracle_rouge(" ".join(jieba.cut(prediction)), " ".join(jieba.cut(reference)))
    assert rouge(prediction, reference=reference) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_longest_common_subsequence_equals_the_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    assert longest_common_subsequence(first, second) == table[-1][-1]


def test_english_is_split_at_blanks() -> None:
    scores = rouge("take two tablets daily", reference="take one tablet daily")
    assert scores == pytest.approx((0.5, 0.0, 0.5), abs=1e-6)


def test_identical_texts_score_one_and_disjoint_ones_zero() -> None:
    text = "多喝水，注意休息。如果发热超过三天，请到医院就诊。"
    assert bleu_4(text, reference=text) == 1.0
    assert rouge(text, reference=text) == pytest.approx((1, 1, 1), abs=1e-6)
    assert bleu_4("好", reference="坏") == 0.0
    assert rouge("好", reference="坏") == (0, 0, 0)


@pytest.mark.parametrize(("prediction", "reference"), [("", "答"), ("答", ""), ("", ""), (" \n", "答")])
def test_empty_texts_score_zero(prediction: str, reference: str) -> None:
    assert bleu_4(prediction, reference=reference) == 0.0
    assert rouge(prediction, reference=reference) == (0, 0, 0)
