"""A split never parts a dialogue, a patient or a cluster of copies, and takes the share it was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.copies.grouping import assign, group
from xinglin.data.records import Document, Origin


def document(row, **meta):
    return Document("text", Origin("a.jsonl", row), meta)


def test_one_row_one_patient_and_one_cluster_are_groups():
    records = [
        document(1, patient_id=7),
        document(1),
        document(2, patient_id="7"),
        document(3, dialogue_id="x"),
        document(4, patient_id=""),
        document(5, dialogue_id="x"),
        document(6),
        document(7),
    ]
    clusters = np.array([10, 11, 12, 13, 14, 15, 13, 16])
    assert group(records, clusters=clusters).tolist() == [0, 0, 0, 3, 4, 3, 3, 7]
    assert group(records, keys=()).tolist() == [0, 0, 2, 3, 4, 5, 6, 7]


def test_no_records_have_no_groups():
    assert assign(group([]), {"dev": 0.1}, seed=1).tolist() == []


@given(st.lists(st.integers(1, 8), min_size=1, max_size=80), st.integers(0, 5))
def test_groups_stay_whole_and_shares_are_not_exceeded(sizes, seed):
    starts = np.cumsum([0, *sizes[:-1]])
    groups = np.repeat(starts, sizes)
    shares = {"dev": 0.2, "test": 0.1}
    parts = assign(groups, shares, seed=seed)
    for start, size in zip(starts.tolist(), sizes, strict=True):
        assert len(set(parts[start : start + size].tolist())) == 1
    for number, share in enumerate(shares.values(), start=1):
        assert (parts == number).sum() <= max(1, round(share * len(groups)))


@pytest.mark.parametrize("count", [100, 10_000])
def test_shares_of_single_records_are_exact(count):
    parts = assign(np.arange(count), {"dev": 0.05, "test": 0.1}, seed=0)
    assert np.bincount(parts).tolist() == [count * 0.85, count * 0.05, count * 0.1]


def test_the_seed_and_the_group_decide():
    groups = np.arange(1000)
    first, again, other = (assign(groups, {"dev": 0.3}, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    # Rows that come after change only what is on the edge of a share.
    longer = assign(np.arange(1100), {"dev": 0.3}, seed=1)[:1000]
    assert (longer != first).mean() < 0.05


def test_a_group_larger_than_the_share_stays_behind():
    groups = np.repeat([0, 60], [60, 1])
    groups = np.concatenate([groups, np.arange(61, 100)])
    parts = assign(groups, {"dev": 0.1}, seed=0)
    assert (parts[:60] == 0).all()
    assert (parts == 1).sum() == 10
