"""k-center and k-means beside brute force; the same on every run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.selection import geometry
from xinglin.selection.geometry import Cover, Likeness, k_means, medoid, squared_distances


def points(seed, number=60, width=5):
    return np.random.default_rng(seed).standard_normal((number, width)).astype(np.float32)


def distances(rows):
    return np.linalg.norm(rows[:, None].astype(np.float64) - rows[None], axis=2)


def test_distances_are_distances(seed=1):
    rows = points(seed)
    np.testing.assert_allclose(squared_distances(rows, rows[:7]), distances(rows)[:, :7] ** 2, atol=1e-5)


def test_the_medoid_has_the_smallest_sum_of_squared_distances():
    for seed in range(5):
        rows, among = points(seed), np.random.default_rng(seed).random(60) < 0.5
        sums = (distances(rows)[:, among] ** 2).sum(axis=1)
        assert medoid(rows, among) == np.flatnonzero(among)[sums[among].argmin()]


@pytest.mark.parametrize("blocks", [(1 << 14, 256), (7, 3)])
def test_k_center_takes_the_farthest_every_time(monkeypatch, blocks):
    monkeypatch.setattr(geometry, "BLOCK", blocks[0])
    monkeypatch.setattr(geometry, "CENTRES", blocks[1])
    rows, free = points(3), np.ones(60, bool)
    full = distances(rows)
    chosen = [4, 9, 11, 20]
    cover = Cover(rows)
    cover.add(chosen)
    for _ in range(20):
        index = cover.farthest(free)
        assert index == full[:, chosen].min(axis=1).argmax()
        cover.add([index])
        chosen.append(index)
    assert cover.radius == pytest.approx(full[:, chosen].min(axis=1).max(), rel=1e-4)


@pytest.mark.parametrize("blocks", [(1 << 14, 256), (7, 3)])
def test_gains_are_those_of_brute_force(monkeypatch, blocks):
    monkeypatch.setattr(geometry, "BLOCK", blocks[0])
    monkeypatch.setattr(geometry, "CENTRES", blocks[1])
    rows = points(4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similar, chosen, likeness = rows.astype(np.float64) @ rows.T, [], Likeness(rows)
    for index in (3, 8, 40):
        chosen.append(index)
        likeness.add(index)
        whole = similar[:, chosen].max(axis=1).clip(0).sum()
        each = [similar[:, [*chosen, other]].max(axis=1).clip(0).sum() for other in range(60)]
        assert likeness.total == pytest.approx(whole, rel=1e-5)
        np.testing.assert_allclose(likeness.gains(np.arange(60)), np.array(each) - whole, atol=1e-4)


def test_k_means_finds_clusters_and_is_the_same_on_every_run():
    centres = np.eye(4, 6, dtype=np.float32) * 10
    truth = np.repeat(np.arange(4), 25)
    rows = centres[truth] + 0.1 * points(5, 100, 6)
    first, second = (k_means(rows, 4, seed=2) for _ in range(2))
    assert (first.labels == second.labels).all() and (first.centres == second.centres).all()
    pairs = set(zip(truth.tolist(), first.labels.tolist(), strict=True))
    assert len(pairs) == 4, "one label per cluster"
    for label in range(4):
        np.testing.assert_allclose(first.centres[label], rows[first.labels == label].mean(axis=0), atol=1e-5)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_cluster_is_empty_and_every_point_is_at_its_nearest_centre(seed, number, k, copies):
    rows = points(seed, number, 3)
    if copies:
        rows[:] = rows[0]
    k = min(k, number)
    labels, centres = k_means(rows, k, seed=seed)
    assert set(labels.tolist()) == set(range(k))
    if not copies:
        found = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
        assert (found[np.arange(number), labels] <= found.min(axis=1) + 1e-4).all()
