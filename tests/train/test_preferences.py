"""Pairs that say nothing are left out for all to see; KTO's foreign answers; a step before and after."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator

from xinglin.data.shards import Shards, ShardWriter
from xinglin.errors import TrainingError
from xinglin.train.kto import KlBaseline
from xinglin.train.objectives.dpo import Objective
from xinglin.train.preference_losses import PreferenceLoss
from xinglin.train.preferences import telling_pairs


@pytest.fixture
def session_over(tmp_path):
    """``session_over([(chosen, rejected), …])``: all there is to a session here, its one split being these pairs."""

    def build(pairs, group=2) -> Any:
        writer = ShardWriter(tmp_path / "shards", vocabulary=100, group=group)
        for row, pair in enumerate(pairs):
            for ids in pair:
                writer.add(np.array(ids), np.arange(len(ids)) >= 2, row=row)
        writer.close()
        return SimpleNamespace(accelerator=Accelerator(cpu=True), shards=lambda split: Shards(writer.folder))

    return build


def test_pairs_with_equal_answers_are_left_out_and_counted(session_over, capsys):
    session = session_over(
        [([1, 2, 3], [1, 2, 4]), ([1, 2, 5], [1, 2, 5]), ([1, 2, 6], [1, 2, 6, 7]), ([1, 2, 8], [1, 2, 8])]
    )
    shards, left_out = telling_pairs(session, "pairs")
    assert [sequence.ids.tolist() for sequence in map(shards.__getitem__, range(len(shards)))] == [
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 6],
        [1, 2, 6, 7],
    ]
    assert left_out == 2 and shards.rows.tolist() == [0, 0, 2, 2] and shards.shared.tolist() == [0, 2, 0, 3]
    assert shards.counts.tolist() == [1, 1, 1, 2]
    said = "split 'pairs': 2 of 4 pairs are left out, chosen and rejected are the same tokens (lines 2, 4)"
    assert said in capsys.readouterr().out


def test_pairs_that_all_differ_are_all_used(session_over, capsys):
    shards, left_out = telling_pairs(session_over([([1, 2, 3], [1, 2, 4])]), "pairs")
    assert len(shards) == 2 and left_out == 0 and not capsys.readouterr().out


def test_a_set_of_equal_answers_is_refused(session_over):
    session = session_over([([1, 2, 3], [1, 2, 3])] * 3)
    with pytest.raises(TrainingError, match=r"'pairs': chosen and rejected are the same .* \(lines 1, 2, 3"):
        telling_pairs(session, "pairs")
    with pytest.raises(TrainingError, match="holds no preferences"):
        telling_pairs(session_over([([1, 2, 3], [1, 2, 4])], group=1), "pairs")


def test_ktos_foreign_answers_belong_to_other_prompts(session_over):
    session = session_over([([n, 0, 10 + n, 50], [n, 0, 20 + n]) for n in range(1, 6)])
    objective = Objective(PreferenceLoss("kto", beta=0.1))
    baseline = KlBaseline(session, session.shards("pairs"), objective, precompute=False)
    foreign = [baseline.foreign(pair) for pair in range(5)]
    assert [ids.tolist() for ids, _ in foreign] == [
        [1, 0, 13, 50],
        [2, 0, 24],
        [3, 0, 15, 50],
        [4, 0, 21],
        [5, 0, 12, 50],
    ]
    assert all(trained.tolist() == [False, False] + [True] * (len(ids) - 2) for ids, trained in foreign)


def test_ktos_foreign_answers_are_never_to_the_own_prompt(session_over):
    """Rated answers, as files have them: all good ones first, then the bad ones to the same prompts."""
    session = session_over([([n % 3, 0, 10 + n],) for n in range(6)], group=1)
    objective = Objective(PreferenceLoss("kto", beta=0.1))
    baseline = KlBaseline(session, session.shards("rated"), objective, precompute=False)
    foreign = [baseline.foreign(answer)[0].tolist() for answer in range(6)]
    assert foreign == [[0, 0, 14], [1, 0, 15], [2, 0, 10], [0, 0, 11], [1, 0, 12], [2, 0, 13]]


def test_kto_needs_two_prompts(session_over):
    session = session_over([([1, 2, 3], [1, 2, 4])])
    objective = Objective(PreferenceLoss("kto", beta=0.1))
    with pytest.raises(TrainingError, match="answers to two prompts at least"):
        KlBaseline(session, session.shards("pairs"), objective, precompute=False)
