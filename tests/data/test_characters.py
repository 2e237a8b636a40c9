"""Characters are counted by sort; repeated n-grams and lines by share."""

import pytest

from xinglin.data.characters import census
from xinglin.data.repetition import repeated_lines, repeated_share


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
