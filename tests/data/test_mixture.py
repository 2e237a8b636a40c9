"""Shares are exact, nothing is lost, and a step depends on nothing but lengths, shares and seed."""

from collections import Counter
from contextlib import suppress
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.course import Course, split_number
from xinglin.data.mixture import Mixture, Pace, Priorities, Shares
from xinglin.data.packing import Plan
from xinglin.data.splits import Span


class ReadyParts(list):
    """Parts of sequences that have lengths and no tokens."""

    def __init__(self, parts):
        super().__init__(Lengths(part) for part in parts)
        ends = np.cumsum([0, *(sum(part) for part in parts)]).tolist()
        self.spans = [Span(*pair) for pair in pairwise(ends)]


class Lengths:
    def __init__(self, lengths):
        self.lengths = np.array(lengths, dtype=np.int64)
        self.counts = np.maximum(self.lengths - 1, 0)

    def __len__(self):
        return len(self.lengths)


def courses_of(splits, *, seed=3, window_parts=2, most=None):
    return [
        Course(ReadyParts(parts), number=number, seed=seed, window_parts=window_parts, most=limit)
        for number, (parts, limit) in enumerate(zip(splits, most or [inf] * len(splits), strict=True))
    ]


def mixture(splits, shares, *, seed=3, window_parts=2, most=None, **pace):
    courses = courses_of(splits, seed=seed, window_parts=window_parts, most=most)
    pace = Pace(**{"micro_batch_tokens": 64, "batch_tokens": 100} | pace)
    return Mixture(Shares(courses, shares, epochs=pace.epochs), pace)


def steps_of(mixed):
    found = []
    with suppress(IndexError):
        while True:
            found.append(mixed[len(found)])
    return found


def numbers_of(steps):
    return [
        int(number)
        for step in steps
        for process in step.micro_batches
        for batch in process
        for number in batch
    ]


PARTS = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=6)


@given(PARTS, st.integers(0, 9), st.integers(1, 3), st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_an_epoch_takes_every_sequence_once(parts, seed, epochs, window_parts):
    mixed = mixture([parts], [1.0], seed=seed, epochs=float(epochs), window_parts=window_parts)
    steps = steps_of(mixed)
    every = {(0, part, at) for part, lengths in enumerate(parts) for at in range(len(lengths))}
    assert Counter(map(split_number, numbers_of(steps))) == dict.fromkeys(every, epochs)
    assert steps[-1].epoch == pytest.approx(epochs)
    assert sum(step.tokens for step in steps) == epochs * sum(map(sum, parts))
    assert mixed.taken(len(steps))[0].epochs == pytest.approx(epochs)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(0, 9), st.sampled_from([0.5, 1.0, 2.3])
)
@settings(deadline=None, max_examples=50)
def test_one_split_of_one_part_is_the_plan_of_every_other_stage(lengths, seed, epochs):
    lengths = np.array(lengths)
    sizes = {"micro_batch_tokens": 64, "batch_size": 7, "epochs": epochs, "processes": 2}
    plan = Plan(lengths, lengths - 1, seed=seed, **sizes)
    mixed = mixture([[lengths.tolist()]], [1.0], seed=seed, batch_tokens=None, **sizes)
    steps = steps_of(mixed)
    assert len(steps) == len(plan) == len(mixed)
    for number, step in enumerate(steps):
        wanted = plan[number]
        assert step.epoch == pytest.approx(wanted.epoch)
        for ours, theirs in zip(step.micro_batches, wanted.micro_batches, strict=True):
            assert [batch.tolist() for batch in ours] == [batch.tolist() for batch in theirs]


@given(st.lists(PARTS, min_size=2, max_size=3), st.lists(st.integers(1, 9), min_size=3, max_size=3))
@settings(deadline=None, max_examples=50)
def test_at_every_step_each_split_has_had_its_share(splits, parts_of_share):
    shares = np.array(parts_of_share[: len(splits)]) / sum(parts_of_share[: len(splits)])
    mixed = mixture(splits, shares.tolist(), epochs=2.0)
    taken = np.zeros(len(splits))
    for step in steps_of(mixed):
        for number in numbers_of([step]):
            split, part, at = split_number(number)
            taken[split] += splits[split][part][at]
        # In virtual time (tokens / share) no split is further from another than its longest sequence.
        assert np.ptp(taken / shares) <= 40 / shares.min() + 40 / shares.min() + 1e-6
    assert taken[0] == 2 * sum(map(sum, splits[0]))


@given(st.lists(PARTS, min_size=1, max_size=3), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_a_step_is_the_same_whenever_it_is_asked_for(splits, random):
    shares = [1 / len(splits)] * len(splits)
    steps = steps_of(mixture(splits, shares, epochs=1.7))
    again = mixture(splits, shares, epochs=1.7)
    order = random.sample(range(len(steps)), len(steps))
    for number in order:
        assert numbers_of([again[number]]) == numbers_of([steps[number]])
        assert again[number].epoch == steps[number].epoch
    with pytest.raises(IndexError):
        again[len(steps)]


def test_what_was_taken_is_counted_by_split():
    mixed = mixture([[[10] * 40]], [1.0], epochs=3.0)
    steps = steps_of(mixed)
    assert mixed.taken(len(steps))[0] == (1200, 120, 3.0)
    assert mixed.taken(5)[0] == (500, 50, 1.25)
    mixed = mixture([[[10] * 30, [10] * 30], [[5] * 8]], [0.75, 0.25])
    steps = steps_of(mixed)
    first, second = mixed.taken(len(steps))
    assert (first.tokens, first.epochs) == (600, 1.0)
    assert (second.tokens, second.sequences, second.epochs) == (200, 40, 5.0)


def test_the_schedule_is_laid_out_from_the_first_part():
    equal = mixture([[[10] * 50] * 7], [1.0], epochs=2.0)
    assert len(steps_of(equal)) == 70 and abs(len(equal) - 70) <= 4
    uneven = mixture([[[10] * 50, [10] * 70, [10] * 90]], [1.0])
    uneven_again = mixture([[[10] * 50, [10] * 70, [10] * 90]], [1.0])
    uneven_again[3]  # whatever has been read by then
    assert len(uneven) == len(uneven_again) and len(steps_of(uneven)) == 21
    assert len(mixture([[[10] * 50] * 7], [1.0], max_steps=4)) == 4
    assert len(steps_of(mixture([[[10] * 50] * 7], [1.0], max_steps=4))) == 4


@given(st.lists(PARTS, min_size=2, max_size=3), st.sampled_from([0.4, 1.0, 1.5, 2.0]), st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_a_split_ends_after_its_epochs_and_leaves_its_share_to_the_others(splits, most, window_parts):
    shares = [1 / len(splits)] * len(splits)
    limits = [inf, most, *[inf] * (len(splits) - 2)]
    capped = mixture(splits, shares, most=limits, epochs=3.0, window_parts=window_parts)
    free = mixture(splits, shares, epochs=3.0, window_parts=window_parts)
    ours, all_of_them = numbers_of(steps_of(capped)), numbers_of(steps_of(free))
    read = Counter(map(split_number, ours))
    size = sum(map(len, splits[1]))
    times = [read[1, part, at] for part, lengths in enumerate(splits[1]) for at in range(len(lengths))]
    assert sum(times) <= np.ceil(most) * size and max(times, default=0) <= np.ceil(most)
    if most == round(most) and capped.taken(len(steps_of(capped)))[1].epochs >= most:
        assert times == [most] * size
    # What is left is in the order that it had: only the sequences behind the end are missing.
    seen, kept = Counter(), []
    for number in all_of_them:
        seen[number] += 1
        if number >> 56 != 1 or seen[number] <= read[split_number(number)]:
            kept.append(number)
    assert sorted(kept) == sorted(ours)


def test_a_fraction_of_an_epoch_is_cut_where_it_ends():
    mixed = mixture([[[10] * 100], [[10] * 20]], [0.5, 0.5], most=[inf, 2.5])
    steps = steps_of(mixed)
    first, second = mixed.taken(len(steps))
    assert (first.epochs, second.epochs, second.sequences) == (1.0, 2.5, 50)
    assert len(steps) == len(mixed) == 15
    sources = [split_number(number)[0] for number in numbers_of(steps)]
    assert set(sources[:96]) == {0, 1} and set(sources[104:]) == {0}, "its share goes to the other one"


def test_steps_are_foreseen_although_a_split_ends_early():
    parts = [[10] * 50] * 7
    mixed = mixture([parts, [[10] * 20] * 3], [0.5, 0.5], most=[inf, 2.0])
    assert abs(len(steps_of(mixed)) - 47) <= 4 and abs(len(mixed) - 47) <= 4


def prioritised(splits, priorities, most, *, seed=3, **pace):
    pace = Pace(**{"micro_batch_tokens": 64, "batch_tokens": 100} | pace)
    return Mixture(Priorities(courses_of(splits, seed=seed, most=most), priorities), pace)


@given(st.lists(PARTS, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_by_priority_everything_is_read_so_often(splits, epochs, seed):
    mixed = prioritised(splits, [8, 2, 1][: len(splits)], [float(epochs)] * len(splits), seed=seed)
    steps = steps_of(mixed)
    read = Counter(map(split_number, numbers_of(steps)))
    assert read == {
        (split, part, at): epochs
        for split, parts in enumerate(splits)
        for part, lengths in enumerate(parts)
        for at in range(len(lengths))
    }
    assert len(mixed) == len(steps) or any(len(parts) > 1 for parts in splits)
    assert [taken.epochs for taken in mixed.taken(len(steps))] == pytest.approx([epochs] * len(splits))


def test_priority_is_sampling_without_replacement_with_its_chance_taken_out():
    """HuatuoGPT-II draws the next row with probability priority / sum of the priorities of all rows left."""
    sizes, priorities, repeats = [600, 300, 90], [32.0, 4.0, 1.0], 60
    random = np.random.default_rng(5)
    which = np.repeat(np.arange(3), sizes)
    drawn = np.zeros((len(which), 3))
    for _ in range(repeats):
        weight, left = np.array(priorities)[which], np.ones(len(which), bool)
        for place in range(len(which)):
            chances = np.cumsum(weight * left)
            row = np.searchsorted(chances, random.random() * chances[-1], side="right")
            left[row] = False
            drawn[place, which[row]] += 1 / repeats
    mixed = prioritised([[[10] * size] for size in sizes], priorities, [1.0] * 3)
    ours = np.eye(3)[[split_number(number)[0] for number in numbers_of(steps_of(mixed))]]
    assert np.abs(np.cumsum(ours, axis=0) - np.cumsum(drawn, axis=0)).max() < 0.01 * len(which)
    last = mixed[len(mixed) - 1]
    assert {split_number(number)[0] for number in numbers_of([last])} == {2}, "instructions come last"


def test_a_prioritised_step_is_the_same_whenever_it_is_asked_for():
    make = lambda: prioritised([[[10, 20] * 30], [[5] * 40]], [4, 1], [1.0, 2.0])
    steps, again = steps_of(make()), make()
    for number in reversed(range(len(steps))):
        assert numbers_of([again[number]]) == numbers_of([steps[number]])
    other = prioritised([[[10, 20] * 30], [[5] * 40]], [4, 1], [1.0, 2.0], seed=4)
    assert numbers_of(steps_of(other)) != numbers_of(steps)
