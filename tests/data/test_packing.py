"""Every sequence is in every epoch once; the plan depends on sizes and seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.packing import Plan, first_fit, pack, pack_groups, pack_sequences
from xinglin.data.shards import Shards, ShardWriter

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


@pytest.mark.parametrize(
    ("limits", "share"), [({"max_steps": 3}, 0.6), ({"epochs": 0.4}, 0.4), ({"epochs": 2}, 1)]
)
def test_a_plan_knows_which_sequences_its_steps_take(limits, share):
    lengths = np.full(20, 5)
    plan = Plan(lengths, lengths - 1, group=2, batch_size=2, micro_batch_tokens=20, **limits)
    taken = np.concatenate([indices(plan[number]) for number in range(len(plan))])
    assert plan.sequences().tolist() == sorted(set(taken.tolist()))
    assert len(plan.sequences()) == share * 20


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
    assert packed.last.tolist() == [2, 4]
    assert packed.weights is None and packed.key_index is None


def test_weights_of_tokens_go_with_their_targets():
    packed = pack_sequences([(np.array([7, 8, 9, 6]), np.array([1, 0.5, 0, -2], dtype=np.float32))])
    assert packed.targets.tolist() == [8, 6]
    assert packed.weights.tolist() == [0.5, -2]
    assert next(packed.apart()).weights.tolist() == [0.5, -2]


def test_a_common_prompt_is_laid_once():
    prompt = [1, 2, 3]
    answers = [[*prompt, 4, 5], [*prompt, 6], [*prompt, 4, 5]]
    group = [(np.array(ids), np.arange(len(ids)) >= 3) for ids in answers]
    other = (np.array([9, 9]), np.array([False, True]))
    packed = pack_groups([group, [other]])
    assert packed.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 5, 9, 9]], "the last token stays each one's own"
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 3, 4, 0, 1]]
    assert (packed.lengths, packed.shared, packed.heads) == ((5, 1, 1, 2), (0, 3, 4, 0), (0, 0, 0, 3))
    assert packed.predictors.tolist() == [2, 3, 2, 2, 3, 7]
    assert packed.targets.tolist() == [4, 5, 6, 4, 5, 9]
    assert packed.owners.tolist() == [0, 0, 1, 2, 2, 3]
    assert packed.last.tolist() == [4, 5, 6, 8]


examples = st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=9).map(
    lambda pairs: (np.array([token for token, _ in pairs]), np.array([trained for _, trained in pairs]))
)


def rows(packed):
    """What a packed batch says, sequence by sequence, whatever its form."""
    for number, one in enumerate(packed.apart()):
        ids = one.input_ids[0].tolist()
        assert one.position_ids[0].tolist() == list(range(len(ids))) and one.lengths == (len(ids),)
        assert one.last.tolist() == [len(ids) - 1] and set(one.owners.tolist()) <= {0}
        assert packed.input_ids[0, packed.last[number]] == ids[-1]
        assert packed.position_ids[0, packed.last[number]] == len(ids) - 1
        predictors = packed.predictors[packed.owners == number]
        assert packed.position_ids[0, predictors].tolist() == one.predictors.tolist()
        assert packed.input_ids[0, predictors].tolist() == [ids[at] for at in one.predictors]
        assert [ids[at + 1] for at in one.predictors] == one.targets.tolist()
        yield ids, one.predictors.tolist()


@given(st.lists(st.lists(examples, min_size=1, max_size=4), max_size=4))
@settings(deadline=None)
def test_sharing_changes_where_tokens_lie_and_nothing_else(groups):
    flat = [example for group in groups for example in group]
    expected = [(ids.tolist(), (np.flatnonzero(trained[1:])).tolist()) for ids, trained in flat]
    shared, plain = pack_groups(groups), pack_sequences(flat)
    assert list(rows(shared)) == list(rows(plain)) == expected
    assert all(length > 0 for length in shared.lengths)
    assert sum(shared.lengths) == sum(len(ids) for ids, _ in flat) - sum(shared.shared)
    assert shared.owners.tolist() == plain.owners.tolist()
    assert shared.boundaries.tolist() == [0, *np.cumsum(shared.lengths).tolist()]


@given(st.lists(st.tuples(examples, examples), min_size=1, max_size=12), st.integers(1, 12))
@settings(deadline=None)
def test_the_budget_counts_what_is_laid(tmp_path_factory, pairs, budget):
    writer = ShardWriter(tmp_path_factory.mktemp("shards"), vocabulary=2, group=2)
    for row, pair in enumerate(pairs):
        for ids, trained in pair:
            writer.add(ids, trained, row=row)
    writer.close()
    shards = Shards(writer.folder)
    plan = Plan(
        shards.lengths,
        shards.counts,
        shared=shards.shared,
        group=2,
        batch_size=5,
        micro_batch_tokens=budget,
    )
    assert sum(plan[number].tokens for number in range(len(plan))) == shards.lengths.sum()
    for number in range(len(plan)):
        for micro_batch in plan[number].micro_batches[0]:
            laid = pack(shards, micro_batch, share=True).input_ids.shape[1]
            assert laid <= budget or len(micro_batch) == 2
