"""Overlap of a generated answer with its reference: BLEU-4 and ROUGE, as fractions from 0 to 1.

Both follow LLaMA-Factory's predict step, whose numbers medical fine-tuning reports have used for years, so
that results can be compared: sentence BLEU over characters (nltk, smoothing method 3) and the F-score of
rouge-chinese 1.0.3 over words. Written here because that library's ROUGE-L table of Python objects dominates
the scoring of long answers; the tests hold the results equal.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from xinglin.data.writing.language import contains_chinese

# rouge-chinese cuts sentences before it splits words, and so also splits a word such as "疼?是" in two.
_SENTENCE_ENDS = (
    (re.compile(r"([。！？?])([^”’])"), r"\1\n\2"),
    (re.compile(r"(\.{6})([^”’])"), r"\1\n\2"),
    (re.compile(r"(…{2})([^”’])"), r"\1\n\2"),
    (re.compile(r"([。！？?][”’])([^，。！？?])"), r"\1\n\2"),
)


class Rouge(NamedTuple):
    """F-scores of shared words, shared word pairs, and the longest common subsequence of words."""

    rouge_1: float
    rouge_2: float
    rouge_l: float


def bleu_4(prediction: str, *, reference: str) -> float:
    """Sentence BLEU over characters: geometric mean of the 1- to 4-gram precisions times the brevity penalty.

    Precisions without a match are smoothed to 1/(2^k · n-grams), k counting such orders (method 3 of Chen and
    Cherry, 2014, "A Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU"). No shared
    character, or an empty text, gives 0.
    """
    logs, smoothed = [], 0
    for order in range(1, 5):
        ngrams = _ngrams(prediction, order)
        matches = (ngrams & _ngrams(reference, order)).total()
        if matches == 0 and order == 1:
            return 0.0
        if matches == 0:
            smoothed += 1
        logs.append(math.log((matches or 0.5**smoothed) / max(ngrams.total(), 1)))
    brevity = min(0.0, 1 - len(reference) / len(prediction))
    return math.exp(brevity + math.fsum(logs) / 4)


def rouge(prediction: str, *, reference: str) -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L F-scores over the words of both texts.

    N-grams are counted once each, ROUGE-L runs over the words of the whole text, as in rouge-chinese. The
    reference decides how both texts are cut into words, so that all models are measured alike. A text without
    words gives 0.
    """
    chinese = contains_chinese(reference)
    return rouge_words(_cut(prediction, chinese=chinese), reference=_cut(reference, chinese=chinese))


def rouge_words(prediction: str, *, reference: str) -> Rouge:
    """``rouge`` of two texts whose words are separated by spaces already."""
    if not prediction.strip() or not reference.strip():
        return Rouge(0.0, 0.0, 0.0)
    predicted, wanted = _words(prediction), _words(reference)
    pairs = set(pairwise(predicted)), set(pairwise(wanted))
    singles = set(predicted), set(wanted)
    return Rouge(
        _f_score(len(singles[0] & singles[1]), len(singles[0]), len(singles[1])),
        _f_score(len(pairs[0] & pairs[1]), len(pairs[0]), len(pairs[1])),
        _f_score(longest_common_subsequence(predicted, wanted), len(predicted), len(wanted)),
    )


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length; a row of the usual table is one integer (Hyyrö, 2004, "Bit-parallel LCS-length computation
    revisited")."""
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        shared = row & places.get(word, 0)
        row = (row + shared | row - shared) & everything
    return len(first) - row.bit_count()


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def _f_score(shared: int, predicted: int, wanted: int) -> float:
    precision = shared / predicted if predicted else 0.0
    recall = shared / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall + 1e-8)  # the 1e-8 is rouge-chinese's


def _cut(text: str, *, chinese: bool) -> str:
    if not chinese:
        return text
    import jieba

    jieba.setLogLevel("WARNING")
    return " ".join(jieba.cut(text))


def _words(text: str) -> list[str]:
    for pattern, replacement in _SENTENCE_ENDS:
        text = pattern.sub(replacement, text)
    lines = (line for line in text.rstrip().split("\n") if line)
    # rouge-chinese takes a line of nothing but blanks for one empty word.
    return [word for line in lines for word in line.split() or [""]]
