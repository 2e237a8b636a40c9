"""What is said about scored pairs, against numbers counted by hand and by brute force."""

import math

import numpy as np
import pytest

from xinglin.evaluate.preferences import calibration, correlation, histogram, judge_pairs


def test_by_hand():
    scores = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0], [1.0, 1.0]])
    lengths = np.array([[9, 5], [7, 4], [3, 8], [6, 6]])
    found = judge_pairs(scores, lengths=lengths, sources=["a", "b", "a", "a"], seed=0)
    assert found["pairs"] == 4
    assert found["accuracy"]["value"] == 0.5, "a tie is not told apart"
    assert 0.1 < found["accuracy"]["low"] < 0.5 < found["accuracy"]["high"] < 0.9
    assert found["margin"]["value"] == pytest.approx(1.0)
    assert (found["chosen_score"], found["rejected_score"]) == (1.5, 0.5)
    length = found["length"]
    assert length["chosen_longer"] == 0.5
    assert (length["accuracy_longer"]["value"], length["accuracy_longer"]["pairs"]) == (0.5, 2)
    assert (length["accuracy_shorter"]["value"], length["accuracy_shorter"]["pairs"]) == (1.0, 1)
    assert {name: entry["pairs"] for name, entry in found["sources"].items()} == {"a": 3, "b": 1}


def test_correlation_is_that_of_all_answers():
    lengths = np.array([[1, 2], [3, 4], [5, 9]])
    assert correlation(2.0 * lengths + 1, lengths) == pytest.approx(1.0)
    assert correlation(-lengths.astype(float), lengths) == pytest.approx(-1.0)
    assert correlation(np.ones((3, 2)), lengths) == 0.0


def test_every_pair_is_in_the_histogram_and_zero_is_an_edge():
    random = np.random.default_rng(0)
    for margins in (random.normal(1, 2, 500), np.array([0.5, 0.6]), np.array([-3.0]), np.zeros(4)):
        found = histogram(margins)
        assert sum(found["counts"]) == len(margins)
        assert any(edge == pytest.approx(0, abs=1e-12) for edge in found["edges"])
        right = sum(count for edge, count in zip(found["edges"], found["counts"], strict=False) if edge >= 0)
        assert right == (margins >= 0).sum()


def test_calibration_against_brute_force_over_both_orders():
    """Shown in either order, an answer is claimed to be the chosen one with sigmoid(its lead)."""
    random = np.random.default_rng(1)
    margins = random.normal(0.5, 1.5, 400)
    claims = [(1 / (1 + math.exp(-margin)), True) for margin in margins]
    claims += [(1 - claim, False) for claim, _ in claims]
    error = 0.0
    for index in range(20):
        inside = [(claim, hit) for claim, hit in claims if index / 20 <= claim < (index + 1) / 20]
        if inside:
            error += abs(sum(claim - hit for claim, hit in inside))
    assert calibration(margins)["error"] == pytest.approx(error / len(claims))


def test_true_claims_have_no_error_and_false_ones_do():
    random = np.random.default_rng(2)
    confidence = random.uniform(0.5, 1, 40_000)
    lead = np.log(confidence / (1 - confidence))
    true = np.where(random.random(len(lead)) < confidence, lead, -lead)
    assert calibration(true)["error"] < 0.01
    assert calibration(3 * true)["error"] > 0.05
    assert sum(each["pairs"] for each in calibration(true)["bins"]) == len(lead)
    for each in calibration(true)["bins"]:
        assert each["low"] <= each["value"] <= each["high"]
