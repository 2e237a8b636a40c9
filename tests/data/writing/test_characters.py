"""Characters are counted by sort; repeated n-grams and lines by share."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.writing.characters import census
from xinglin.data.writing.repetition import repeated_lines, repeated_share


def test_census() -> None:
    counts = census("发热38.5℃，HBV (+) α 🙂\n")
    assert (counts.chinese, counts.latin, counts.other, counts.digits) == (2, 3, 1, 3)
    assert (counts.punctuation, counts.symbols, counts.blanks, counts.outside) == (4, 2, 4, 2)
    assert counts.letters == 6 and counts.visible == 15
    assert census("").visible == 0 and census("\ud800").outside == 1


def test_repeated_lines() -> None:
    assert repeated_lines("一二\n三四\n\n一二") == pytest.approx(2 / 6)
    assert repeated_lines("") == repeated_lines("\n") == 0
    assert repeated_share("多休息" * 10, ngram=3) == pytest.approx(1 - 3 / 28)


WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


@given(st.text(st.sampled_from("病人AaBé9_，。 \n肝\uf900"), max_size=60), st.integers(1, 11))
def test_repeated_share_counts_n_grams(text: str, ngram: int) -> None:
    words = WORD.findall(text.lower())
    grams = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    expected = 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0
    assert repeated_share(text, ngram=ngram) == pytest.approx(expected)
