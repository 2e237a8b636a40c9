"""Rollouts are made when they are due, take exactly their steps, and are the same when asked for again."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from xinglin.errors import CheckpointError
from xinglin.train.rl.rollout import Rollout
from xinglin.train.rl.steps import Layout, RolloutSteps

ANSWERS, GROUP = 12, 2


def make(number, *, coefficient):
    random = np.random.default_rng(number)
    counts = torch.from_numpy(random.integers(1, 6, ANSWERS))
    lengths = counts + 3
    return Rollout(
        ids=torch.from_numpy(random.integers(0, 99, int(lengths.sum()))).int(),
        lengths=lengths,
        counts=counts,
        group=GROUP,
        stopped=torch.ones(ANSWERS, dtype=torch.bool),
        scores=torch.full((ANSWERS,), float(number)),
        tokens={"log_probs": torch.from_numpy(random.normal(size=int(counts.sum()))).float()},
        facts={"kl": float(number), "reward": 1.0, "kl_coefficient": coefficient},
    )


@pytest.fixture
def steps(tmp_path):
    """``steps(made)`` over 3 rollouts x 2 passes x 3 mini-batches; ``made`` lists the rollouts that are made."""

    def build(made, **settings):
        def note(number, *, coefficient):
            made.append((number, round(coefficient, 6)))
            return make(number, coefficient=coefficient)

        layout = {"rollouts": 3, "steps": 6, "passes": 2, "answers": ANSWERS, "max_steps": None}
        rest = {"epochs_per_rollout": 0.5, "micro_batch_tokens": 30, "share": True, "seed": 5}
        limits = {"max_update_kl": None, "max_kl": None}
        return RolloutSteps(
            Layout(**(layout | rest | limits | settings)),
            scratch=tmp_path,
            make=note,
            coefficient=0.1,
            next_coefficient=lambda coefficient, kl: coefficient + kl,
            accelerator=Accelerator(cpu=True),
        )

    return build


def taken(step):
    return np.concatenate(step.micro_batches[0]).tolist()


def test_every_answer_is_taken_once_per_pass_and_no_step_is_missing(steps):
    made = []
    all_steps = steps(made)
    assert len(all_steps) == 18
    seen = [taken(all_steps[number]) for number in range(18)]
    assert made == [(0, 0.1), (1, 0.1), (2, 1.1)], "each with the coefficient that the one before led to"
    for rollout in range(3):
        for start in (6 * rollout, 6 * rollout + 3):
            part = [index for step in seen[start : start + 3] for index in step]
            assert sorted(part) == list(range(rollout * ANSWERS, (rollout + 1) * ANSWERS))
    assert all(len(step) == 4 for step in seen)
    assert all(
        first % 2 == 0 and second == first + 1
        for step in seen
        for first, second in zip(step[::2], step[1::2], strict=True)
    )
    assert seen[0:3] != seen[3:6], "the second pass has its own order"
    assert [round(all_steps[n].epoch, 4) for n in (5, 17)] == [0.5, 1.5]
    with pytest.raises(IndexError):
        all_steps[18]


def test_a_step_asked_for_again_is_the_same_in_another_process_too(steps):
    made = []
    first = steps(made)
    seen = [taken(first[number]) for number in range(8)]
    packed = first.pack(first[7].micro_batches[0][0])
    again = steps(made)
    assert taken(again[7]) == seen[7] and len(made) == 2
    other = again.pack(again[7].micro_batches[0][0])
    assert torch.equal(packed.input_ids, other.input_ids) and torch.equal(packed.targets, other.targets)
    assert taken(again[6]) == seen[6]


def test_what_came_after_the_step_that_a_run_falls_back_to_is_made_again(steps):
    made = []
    first = steps(made)
    for number in range(13):
        first[number]
    assert [number for number, _ in made] == [0, 1, 2]
    again = steps(made)
    again[8]
    assert [number for number, _ in made] == [0, 1, 2]
    for number in range(9, 13):
        again[number]
    assert [number for number, _ in made] == [0, 1, 2, 2]


def test_rollouts_before_the_oldest_checkpoint_are_deleted(steps, tmp_path):
    made = []
    all_steps = steps(made)
    for number in range(18):
        if number == 11:
            (tmp_path / "checkpoints" / "step-00000007").mkdir(parents=True)
        all_steps[number]
    names = sorted(path.name for path in (tmp_path / "rollouts").glob("*.safetensors"))
    assert names == ["000001.safetensors", "000002.safetensors"]


def test_a_rollout_is_left_when_the_policy_has_moved_too_far(steps):
    made, rows = [], []
    all_steps = steps(made, max_update_kl=0.05)
    all_steps.write = rows.append

    def drift(step, size):
        for indices in step.micro_batches[0]:
            all_steps.note_drift(torch.full((3 * len(indices),), size, dtype=torch.float64))

    drift(all_steps[0], 0.04)
    drift(all_steps[1], 0.06)
    assert taken(all_steps[2])[0] >= ANSWERS, "step 2 is the first of the next rollout"
    again = steps(made, max_update_kl=0.05)
    assert taken(again[2]) == taken(all_steps[2]) and taken(again[1])[0] < ANSWERS
    for number in range(3, 14):
        all_steps[number]
    with pytest.raises(IndexError):
        all_steps[14]
    assert [(row["rollout"], row["step"]) for row in rows] == [(1, 1), (2, 3), (3, 9)]


def test_the_stage_ends_when_a_rollout_is_too_far_from_the_reference(steps):
    all_steps = steps([], max_kl=0.5)
    for number in range(12):
        all_steps[number]
    with pytest.raises(IndexError):
        all_steps[12]


def test_a_damaged_rollout_is_refused(steps, tmp_path):
    steps([])[0]
    path = tmp_path / "rollouts" / "000000.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        steps([])[1]


def test_a_bug_while_making_a_rollout_is_not_the_end_of_the_steps(steps):
    all_steps = steps([])
    all_steps.make = lambda number, *, coefficient: [][number]
    with pytest.raises(RuntimeError, match="rollout 1 cannot be made"):
        all_steps[0]


def test_a_run_whose_checkpoints_are_all_damaged_makes_its_rollouts_again(steps, tmp_path):
    made = []
    all_steps = steps(made)
    first = taken(all_steps[0])
    all_steps[6]
    (tmp_path / "rollouts" / "000000.safetensors").unlink()
    assert taken(steps(made)[0]) == first
    assert [number for number, _ in made] == [0, 1, 0]


def test_a_rollout_survives_its_file(tmp_path):
    made = make(3, coefficient=0.1)
    made.save(tmp_path / "one")
    loaded = Rollout.load(tmp_path / "one")
    assert loaded.facts == made.facts and loaded.group == made.group
    assert torch.equal(loaded.ids, made.ids) and torch.equal(loaded.scores, made.scores)
    indices = np.array([4, 1])
    expected = [made.tokens["log_probs"].split(made.counts.tolist())[index] for index in indices]
    assert torch.equal(loaded.of("log_probs", indices), torch.cat(expected))
    ids, mask = loaded.example(4)
    assert len(ids) == made.lengths[4] and mask.sum() == made.counts[4] and mask[-1] and not mask[2]
