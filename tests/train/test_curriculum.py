"""Which sequences a phase has, and that its steps name them as the whole split does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.packing import Plan
from xinglin.train.curriculum import Phases, cut, with_replay

scores = st.lists(st.integers(0, 9) | st.floats(-5, 5), min_size=1, max_size=60).map(np.array)


@given(scores, st.integers(2, 6))
def test_buckets_ascend_hold_everything_and_keep_equals_together(scores, buckets):
    found = cut(scores.astype(float), buckets)
    assert sorted(np.concatenate(found)) == list(range(len(scores)))
    assert 1 <= len(found) <= buckets
    for easy, hard in pairwise(found):
        assert scores[easy].max() < scores[hard].min()


def test_distinct_scores_make_even_buckets():
    assert [len(bucket) for bucket in cut(np.random.default_rng(0).random(90), 3)] == [30, 30, 30]


def test_replay_is_a_fixed_share_of_every_earlier_bucket():
    buckets = [np.arange(0, 20), np.arange(20, 30), np.arange(30, 50)]
    kept = with_replay(buckets, 2, share=0.25, seed=3)
    assert set(buckets[2]) <= set(kept)
    assert [np.isin(bucket, kept).sum() for bucket in buckets] == [5, 2, 20]
    assert len(set(kept)) == len(kept)
    assert kept.tolist() == with_replay(buckets, 2, share=0.25, seed=3).tolist()
    assert kept.tolist() != with_replay(buckets, 2, share=0.25, seed=4).tolist()
    assert with_replay(buckets, 0, share=1.0, seed=3).tolist() == buckets[0].tolist()


@pytest.mark.parametrize("processes", [1, 2])
def test_phases_are_runs_one_after_another(processes):
    lengths = np.random.default_rng(0).integers(3, 30, size=40)
    members = [np.arange(0, 40, 2), np.arange(1, 40, 2)]
    plans = [
        Plan(lengths[kept], lengths[kept], micro_batch_tokens=64, batch_size=6, epochs=2, processes=processes)
        for kept in members
    ]
    phases = Phases(list(zip(members, plans, strict=True)))
    assert len(phases) == 16
    steps = [phases[number] for number in range(16)]
    assert steps[-1].epoch == 4.0
    assert all(a.epoch < b.epoch for a, b in pairwise(steps))
    for number, step in enumerate(steps):
        indices = np.concatenate([batch for part in step.micro_batches for batch in part])
        assert np.isin(indices, members[number // 8]).all()
        assert lengths[indices].sum() == step.tokens
    for half in (steps[:4], steps[8:12]):  # the first epoch of each phase
        seen = np.concatenate([batch for step in half for part in step.micro_batches for batch in part])
        assert len(seen) == len(set(seen)) == 20
    with pytest.raises(IndexError):
        phases[16]
    assert len(Phases(phases.parts, max_steps=5)) == 5
