"""The goals of the labelled test set, and that it is what it says."""

import pytest

from xinglin.data.deidentify import scan
from xinglin.data.deidentify.detectors._lists import sections
from xinglin.data.deidentify.scanning import DETECTORS, TYPES
from xinglin.data.deidentify.trial import as_table, evaluate_detectors, labelled_sentences

BY_WORDS = {"doctor_name", "patient_name", "hospital"}


def test_precision_and_recall() -> None:
    scores = evaluate_detectors()
    assert set(scores) == set(TYPES)
    for type, score in scores.items():
        assert score.labelled >= 15, type
        assert score.precision >= 0.95, type
        assert score.recall >= (0.90 if type in BY_WORDS else 0.98), type
    assert len(as_table(scores).splitlines()) == len(scores) + 2


def test_the_set_is_large_and_a_third_is_hard_negatives() -> None:
    sentences = labelled_sentences()
    assert len({sentence.text for sentence in sentences}) >= 2000
    negatives = [sentence for sentence in sentences if not sentence.spans]
    assert len(negatives) / len(sentences) > 1 / 3
    assert sentences == labelled_sentences() != labelled_sentences(1)


def test_values_are_not_from_the_lists_of_the_detectors() -> None:
    surnames = {sign for part in sections("surnames")[:2] for sign in "".join(part)}
    patients = {s.text[a:b] for s in labelled_sentences() for type, a, b in s.spans if type == "patient_name"}
    assert sum(name[0] not in surnames for name in patients if not name.isascii()) > 10
    places = set(sections("places")[0])
    assert not {county[:-1] for county in ("沭阳县", "桐庐县", "大悟县", "修水县")} & places


def test_hints_hide_nothing() -> None:
    for sentence in labelled_sentences(2, repeats=2):
        for detector in DETECTORS:
            if list(detector.find(sentence.text)):
                assert any(hint.search(sentence.text) for hint in detector.HINTS), (detector, sentence.text)


@pytest.mark.parametrize("seed", [3, 4])
def test_other_draws_are_not_worse(seed: int) -> None:
    right = found = labelled = 0
    for sentence in labelled_sentences(seed, repeats=4):
        spans = set(scan(sentence.text))
        right += len(spans & set(sentence.spans))
        found, labelled = found + len(spans), labelled + len(sentence.spans)
    assert right / found > 0.97 and right / labelled > 0.95
