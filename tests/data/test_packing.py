"""Every sequence is in every epoch once; the plan depends on sizes and seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.packing import Plan, first_fit, pack_sequences

lengths_of = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda values: np.asarray(values))


def indices(step):
    return np.concatenate([part for process in step.micro_batches for part in process])


@given(lengths_of, st.integers(1, 9), st.integers(1, 80), st.integers(1, 3), st.integers(0, 99))
@settings(deadline=None)
def test_every_epoch_holds_every_sequence_once(lengths, batch_size, budget, processes, seed):
    plan = Plan(
        lengths,
        lengths - 1,
        batch_size=batch_size,
        micro_batch_tokens=budget,
        epochs=2,
        seed=seed,
        processes=processes,
    )
    steps = [plan[number] for number in range(len(plan))]
    seen = np.concatenate([indices(step) for step in steps])
    assert np.bincount(seen, minlength=len(lengths)).tolist() == [2] * len(lengths)
    assert sum(step.tokens for step in steps) == 2 * lengths.sum()
    assert sum(step.trained_tokens for step in steps) == 2 * (lengths - 1).sum()
    assert steps[-1].epoch == 2
    for step in steps:
        assert len({len(process) for process in step.micro_batches}) == 1
        for micro_batch in (part for process in step.micro_batches for part in process):
            assert len(micro_batch) <= 1 or lengths[micro_batch].sum() <= budget


@given(lengths_of, st.integers(1, 200), st.integers(1, 80))
@settings(deadline=None)
def test_the_token_budget_of_a_forward_pass_does_not_change_the_steps(lengths, batch_tokens, budget):
    wide = Plan(lengths, lengths, batch_tokens=batch_tokens, micro_batch_tokens=10**6, seed=3)
    narrow = Plan(lengths, lengths, batch_tokens=batch_tokens, micro_batch_tokens=budget, seed=3)
    assert len(wide) == len(narrow)
    for number in range(len(wide)):
        assert sorted(indices(wide[number])) == sorted(indices(narrow[number]))


def test_steps_by_tokens_are_near_the_asked_size():
    lengths = np.full(1000, 10)
    plan = Plan(lengths, lengths, batch_tokens=200, micro_batch_tokens=4096)
    assert {plan[number].tokens for number in range(len(plan))} == {200}


def test_pairs_stay_together_and_fractions_of_an_epoch_end_within_it():
    lengths = np.arange(1, 41)
    plan = Plan(lengths, lengths, group=2, batch_size=4, micro_batch_tokens=50, epochs=1.5)
    assert len(plan) == 5 + 2
    for number in range(len(plan)):
        for micro_batch in plan[number].micro_batches[0]:
            assert (micro_batch[::2] + 1 == micro_batch[1::2]).all() and (micro_batch[::2] % 2 == 0).all()
    assert plan[0].groups == 4


def test_max_steps_bounds_the_run():
    lengths = np.full(100, 5)
    assert len(Plan(lengths, lengths, batch_size=10, micro_batch_tokens=99, epochs=5, max_steps=7)) == 7
    with pytest.raises(IndexError):
        Plan(lengths, lengths, batch_size=10, micro_batch_tokens=99)[10]


def test_first_fit_fills_bins_and_gives_long_items_their_own():
    bins = first_fit(np.array([5, 90, 4, 1]), 10)
    assert [members.tolist() for members in bins] == [[1], [0, 2, 3]]


def test_packed_batch_predicts_each_trained_token_from_the_one_before():
    first = (np.array([7, 8, 9]), np.array([True, False, True]))
    second = (np.array([4, 5]), np.array([True, True]))
    packed = pack_sequences([first, second])
    assert packed.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert packed.boundaries.tolist() == [0, 3, 5]
    assert packed.predictors.tolist() == [1, 3], "the first token of a sequence is predicted by nothing"
    assert packed.targets.tolist() == [9, 5]
    assert packed.owners.tolist() == [0, 1]
