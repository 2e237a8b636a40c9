"""Long runs of blanks and half a match: work that grew with their square would outlive any test's time limit."""

from collections.abc import Callable

import pytest

from xinglin.data.copies.fingerprints import bare
from xinglin.data.deidentify import scan
from xinglin.data.formats import _choices, _speech, toyhom
from xinglin.data.records import Document, Origin
from xinglin.data.writing.language import chinese_share
from xinglin.data.writing.normalise import Normalise, Normaliser

LENGTH = 400_000
WRAPPED = "and so on until the line is full and has a word with a hyphen-\n" * (LENGTH // 60)


def normalised(text: str) -> str:
    record = Normaliser(Normalise(blanks=True))(Document(text, Origin("a", 1))).record
    assert isinstance(record, Document)
    return record.text


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (bare, "a\n" + "\t" * LENGTH + "答：b", "a\nb"),
        (bare, "\t" * LENGTH + "x", "\t" * LENGTH + "x"),
        (scan, "证件号码" + " " * LENGTH + "x 1", []),
        (scan, "MRN " + "no" * (LENGTH // 20) + " 1", []),
        (chinese_share, "ACGT" * (LENGTH // 4) + "中", 1.0),
        (_choices.lettered, "A 甲" + "\n" * LENGTH + "B 乙", {"A": "甲", "B": "乙"}),
        (_choices.lettered, "A " + "\n" * LENGTH, None),
        (
            _speech.turns,
            "问：甲" + "\n" * LENGTH + "答：乙",
            [_speech.Turn("user", "甲"), _speech.Turn("assistant", "乙")],
        ),
        (toyhom.matches, "甲乙，" * (LENGTH // 3), False),
        (normalised, "a" + " \t" * (LENGTH // 2) + "b\n\nc \nd", "a" + " \t" * (LENGTH // 2) + "b\n\nc\nd"),
        (normalised, "&" + "amp;" * (LENGTH // 4) + "lt;b", "<b"),
        (normalised, WRAPPED, WRAPPED.replace("-\n", "-")),
        (normalised, "a<br" + "\n" * LENGTH + "b <p> c", "a<br\n\nb\nc"),
    ],
)
def test_a_long_text_is_read_in_time(read: Callable[[str], object], text: str, expected: object) -> None:
    assert read(text) == expected
