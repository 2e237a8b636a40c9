"""Sketches estimate Jaccard's similarity as MinHash does; clusters are the connected components of brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.copies.fingerprints import Units, mixed
from xinglin.data.copies.sketches import PLACES, SketchFile, band_size, cluster_near, join, similarity, sketch


def sets_of(*parts):
    """Units with one text per array of numbers."""
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Units(mixed(np.concatenate(parts).astype(np.uint64)), owners)


@pytest.mark.parametrize(("shared", "apart"), [(9, 1), (30, 10), (400, 50), (1000, 1000), (20000, 2500)])
def test_the_estimate_is_unbiased_with_the_error_of_minhash(shared, apart):
    jaccard = shared / (shared + 2 * apart)
    estimates = []
    for turn in range(100):
        numbers = np.arange(shared + 2 * apart) + turn * 10**6
        left, right = numbers[: shared + apart], np.concatenate([numbers[:shared], numbers[shared + apart :]])
        sketches = sketch(sets_of(left, right), count=2)
        estimates.append(similarity(sketches, np.array([0]), np.array([1]))[0])
    error = np.sqrt(jaccard * (1 - jaccard) / PLACES)
    assert abs(np.mean(estimates) - jaccard) < 4 * error / np.sqrt(len(estimates))
    assert np.std(estimates) < 1.3 * error


def test_a_sketch_depends_on_the_set_alone():
    numbers = np.arange(50)
    sketches = sketch(sets_of(numbers, numbers[::-1], np.repeat(numbers, 3), numbers[:1]), count=4)
    assert (sketches[0] == sketches[1]).all()
    assert (sketches[0] == sketches[2]).all()
    alone = sketch(sets_of(numbers[:1]), count=1)
    assert (sketches[3] == alone[0]).all()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_find_what_is_as_similar_as_the_threshold(threshold):
    size = band_size(threshold)
    assert 1 - (1 - threshold**size) ** (PLACES // size) >= 0.99
    assert size > 2


def test_sketches_in_a_file_give_the_same_clusters():
    generator = np.random.default_rng(4)
    texts = [np.arange(100) + 5 * each for each in range(30)]
    texts += [text[generator.random(100) > 0.05] for text in texts]
    sketches = sketch(sets_of(*texts), count=len(texts))
    rows = np.arange(len(texts))
    with SketchFile() as file:
        file.append(sketches[:7])
        file.append(sketches[7:])
        assert (file[rows[::-1]] == sketches[::-1]).all()
        found = cluster_near(file, rows, rows, threshold=0.8)
    assert (found == cluster_near(sketches, rows, rows, threshold=0.8)).all()
    assert len(set(found.tolist())) < len(rows)


def test_clusters_are_those_of_brute_force_away_from_the_threshold():
    generator = np.random.default_rng(5)
    texts = []
    for family in range(60):
        base = np.arange(120) + 1000 * family
        for _ in range(3):
            keep = generator.random(120) > generator.choice([0.02, 0.6])
            texts.append(base[keep])
    sketches = sketch(sets_of(*texts), count=len(texts))
    rows = np.arange(len(texts))
    found = cluster_near(sketches, rows, rows, threshold=0.8)
    sets = [set(text.tolist()) for text in texts]
    for right in rows:
        for left in range(right):
            jaccard = len(sets[left] & sets[right]) / len(sets[left] | sets[right])
            if jaccard > 0.9:
                assert found[left] == found[right]
            elif jaccard < 0.65:
                assert found[left] != found[right]


def test_a_big_bucket_of_different_texts_stays_apart():
    """Many texts that share a template and differ in the rest are compared with some neighbours only."""
    texts = [np.concatenate([np.arange(60), np.arange(40) + 1000 * each]) for each in range(1, 400)]
    sketches = sketch(sets_of(*texts), count=len(texts))
    rows = np.arange(len(texts))
    assert (cluster_near(sketches, rows, rows, threshold=0.8) == rows).all()


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_joined_clusters_are_connected_components(pairs):
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    found = join(np.arange(30), left, right)
    expected = list(range(30))
    for a, b in pairs:
        low, high = sorted((expected[a], expected[b]))
        expected = [low if each == high else each for each in expected]
    assert found.tolist() == expected
