"""Weighted losses, losses by source and text beside the answers, against sums written out."""

import numpy as np
import pytest
import torch

from xinglin.data.packing import Plan, pack
from xinglin.data.shards import Shards, ShardWriter
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel
from xinglin.train.batches import shard_batches
from xinglin.train.objectives.language_modeling import MAX_SOURCES, Objective, Sources
from xinglin.train.regulariser import Text, with_text


def made(folder, *, rows=12, weighted=True, sources=3):
    random = np.random.default_rng(len(str(folder)))
    writer = ShardWriter(folder, vocabulary=400)
    for row in range(rows):
        length = int(random.integers(4, 20))
        weights = random.choice([0.0, 1.0, 0.3, 2.5] if weighted else [0.0, 1.0], size=length).astype(
            np.float32
        )
        writer.add(
            random.integers(0, 380, size=length), weights, row=row, source=f"files/{row % sources}.jsonl"
        )
    writer.close()
    return Shards(folder)


def plan(shards, **settings):
    return Plan(
        shards.lengths, shards.counts, **({"batch_size": 5, "micro_batch_tokens": 40, "seed": 2} | settings)
    )


def run(model, batches, number):
    """Loss and metrics of one step, as the loop adds them up."""
    step = batches.steps[number]
    batches.before(model, step)
    total, sums = 0.0, {}
    for part in step.micro_batches:
        for indices in filter(len, part):
            with packed_attention(model.core):
                loss, metrics = batches.objective.loss(model, batches.pack(indices), indices)
            total += loss / batches.objective.weight(step)
            for name, (value, weight) in metrics.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + value.item(), before[1] + weight.item())
    return total, sums


def brute(core, shards, indices):
    """(sum of weight x -log p, sum of weights) over sequences one at a time, in float64."""
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for index in indices:
        ids, trained = shards[int(index)]
        ids, scale = torch.from_numpy(ids), torch.from_numpy(trained.astype(np.float64))
        log_probs = core(input_ids=ids[None]).logits[0].double().log_softmax(-1)
        total = total - (scale[1:] * log_probs[:-1].gather(-1, ids[1:, None])[:, 0]).sum()
        weight += float(scale[1:].sum())
    return total, weight


def indices_of(step):
    return np.concatenate([batch for part in step.micro_batches for batch in part])


@pytest.fixture
def model(tiny):
    return PackedModel(tiny(seed=1))


@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_is_the_weighted_mean(model, tmp_path, weighted):
    shards = made(tmp_path / "s", weighted=weighted)
    batches = shard_batches(shards, plan(shards), Objective.of(shards), split="train")
    loss, _ = run(model, batches, 0)
    loss.backward()
    loss = loss.detach()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total, weight = brute(model.model, shards, indices_of(batches.steps[0]))
    (total / weight).backward()
    assert loss.item() == pytest.approx((total / weight).detach().item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_losses_by_source_add_up_to_the_loss_and_are_their_own_means(model, tmp_path):
    shards = made(tmp_path / "s")
    batches = shard_batches(shards, plan(shards, batch_size=8), Objective.of(shards), split="train")
    loss, sums = run(model, batches, 0)
    assert list(sums) == ["loss/" + name for name in Sources.of(shards).names]
    assert sum(value for value, _ in sums.values()) / sum(
        weight for _, weight in sums.values()
    ) == pytest.approx(loss.item(), rel=1e-5)
    chosen = indices_of(batches.steps[0])
    for number in range(3):
        total, weight = brute(model.model, shards, [i for i in chosen if shards.rows[i] % 3 == number])
        assert sums[f"loss/{number}.jsonl"] == pytest.approx((total.item(), weight), rel=1e-5)


def test_one_source_is_not_told_apart_and_many_are_rolled_up(tmp_path):
    assert Sources.of(made(tmp_path / "one", sources=1)) is None
    many = Sources.of(made(tmp_path / "many", rows=60, sources=20))
    assert (len(many.names), many.names[-1]) == (MAX_SOURCES, "other")
    assert int((many.index == MAX_SOURCES - 1).sum()) == 60 - 3 * (MAX_SOURCES - 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_text_adds_its_mean_loss_times_the_weight(model, tmp_path, processes):
    shards, written = made(tmp_path / "answers"), made(tmp_path / "documents", rows=7, weighted=False)
    objective = Objective.of(shards)
    steps = plan(shards, processes=processes)
    text = Text(written, len(shards), 3, 24, seed=5, processes=processes)
    alone = shard_batches(shards, steps, objective, split="train")
    both = with_text(alone, objective, text, weight=0.25)
    assert len(both.steps) == len(steps)
    for number in range(2):
        loss, sums = run(model, both, number)
        answers, answer_weight = brute(model.model, shards, indices_of(steps[number]))
        lines, line_weight = brute(model.model, written, text.of_step(number))
        expected = answers / answer_weight + 0.25 * lines / line_weight
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert sums["text_loss"] == pytest.approx((lines.item(), line_weight), rel=1e-5)
        parts = both.steps[number].micro_batches
        assert len({len(part) for part in parts}) == 1


def test_every_round_over_the_text_has_every_document_once(tmp_path):
    text = Text(made(tmp_path / "documents", rows=7), 100, 3, 24, seed=5)
    taken = np.concatenate([text.of_step(number) for number in range(14)])
    for start in range(0, 42, 7):
        assert sorted(taken[start : start + 7]) == list(range(7))
    assert taken[:7].tolist() != taken[7:14].tolist()
    assert text.of_step(9).tolist() == text.of_step(9).tolist()


def test_weights_travel_through_shards_into_packed_batches(tmp_path):
    shards = made(tmp_path / "s")
    packed = pack(shards, np.arange(4))
    assert float(packed.weights.sum()) == pytest.approx(shards.sums[:4].sum())
    assert len(packed.targets) == shards.counts[:4].sum()
