"""The loop: exact under any batch layout, resumable bit by bit, and honest about bad numbers."""

import math

import pytest
import torch

from xinglin.errors import CheckpointError, Interrupted, TrainingError
from xinglin.train import checkpoint
from xinglin.train.meter import read_rows


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_same_bits(first, second):
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, dict(second.named_parameters())[name]), name


def test_it_learns_and_writes_its_metrics(fit):
    _, state, folder = fit(plan={"epochs": 6}, eval_every=10)
    rows = read_rows(folder / "out" / "metrics.jsonl")
    train, evaluations = ([row for row in rows if row["kind"] == kind] for kind in ("train", "eval"))
    assert state.step == 48 and train[-1]["step"] == 48
    assert train[-1]["loss"] < 0.6 * train[0]["loss"]
    assert [row["step"] for row in evaluations] == [10, 20, 30, 40, 48]
    assert evaluations[-1]["loss"] == state.best < evaluations[0]["loss"]
    assert train[-1]["tokens"] == state.tokens and train[-1]["epoch"] == 6
    assert {"grad_norm", "learning_rate", "tokens_per_second", "memory_bytes"} <= train[-1].keys()
    assert list((folder / "out" / "runs").glob("events*"))


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_the_result_does_not_depend_on_accumulation(fit, budget):
    """One forward pass per sequence, several per step, or the whole step at once: the same training."""
    whole, _, _ = fit("whole", plan={"micro_batch_tokens": 4096})
    other, _, _ = fit(f"budget{budget}", plan={"micro_batch_tokens": budget})
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(dict(other.named_parameters())[name], tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("stop_after", [1, 4, 7, 15])
def test_interrupted_equals_uninterrupted(fit, tiny, stop_after):
    straight, expected, straight_folder = fit("straight", eval_every=5)
    with pytest.raises(Interrupted, match=f"step {stop_after} of 16"):
        fit("broken", stop_after=stop_after, eval_every=5)
    resumed, state, folder = fit("broken", model=tiny(seed=99), eval_every=5)
    assert_same_bits(straight, resumed)
    assert (state.tokens, state.best, state.best_step) == (
        expected.tokens,
        expected.best,
        expected.best_step,
    )
    keys = ("kind", "step", "loss")
    rows = [
        [row[key] for key in keys]
        for row in read_rows(folder / "out" / "metrics.jsonl")
        if row["kind"] == "eval"
    ]
    assert rows == [
        [row[key] for key in keys]
        for row in read_rows(straight_folder / "out" / "metrics.jsonl")
        if row["kind"] == "eval"
    ]


def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_is_taken(fit, tiny, tmp_path, capsys):
    straight, _, _ = fit("straight")
    with pytest.raises(Interrupted):
        fit("broken", stop_after=10)
    saved = checkpoint.steps(tmp_path / "broken" / "scratch" / "checkpoints")
    assert [folder.name for folder in saved] == ["step-00000008", "step-00000010"]
    path = saved[-1] / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    resumed, _, _ = fit("broken", model=tiny(seed=99))
    said = capsys.readouterr().out
    assert "weights.safetensors is not the bytes that were written" in said and "resuming at step 8" in said
    assert_same_bits(straight, resumed)


def test_where_no_checkpoint_is_whole_training_starts_again(fit, tiny, tmp_path, capsys):
    straight, _, _ = fit("straight")
    with pytest.raises(Interrupted):
        fit("broken", stop_after=5)
    for folder in checkpoint.steps(tmp_path / "broken" / "scratch" / "checkpoints"):
        (folder / "manifest.json").unlink()
    again, _, _ = fit("broken", model=tiny(seed=1))
    assert "no checkpoint is whole; training starts again" in capsys.readouterr().out
    assert_same_bits(straight, again)


def test_a_non_finite_loss_halts_names_the_rows_and_spares_the_weights(fit, tiny):
    model = tiny(seed=1)
    before = weights(model)
    model.model.norm.weight.data[0] = math.nan
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan .* on lines \d+"):
        fit(model=model)
    after = weights(model)
    for name, tensor in before.items():
        if name != "model.norm.weight":
            assert torch.equal(tensor, after[name]), name


def test_a_non_finite_gradient_halts_too(fit, tiny):
    """The loss is finite, but the update would be skipped in silence."""
    model = tiny(seed=1)
    model.model.norm.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(TrainingError, match=r"step 1: the loss is \d.* \(gradient norm nan\)"):
        fit(model=model)


def test_evaluation_loss_is_the_same_for_every_batch_size(fit, shards):
    """The loop evaluates in batches of 9; here one sequence at a time, in float64."""
    model, _, folder = fit(eval_every=16)
    measured = read_rows(folder / "out" / "metrics.jsonl")[-1]["loss"]
    total = count = 0.0
    for ids, trained in (shards[index] for index in range(len(shards))):
        logits = model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0].double()
        chosen = logits.log_softmax(-1)[:-1].gather(-1, torch.from_numpy(ids[1:])[:, None])[:, 0]
        total -= chosen[torch.from_numpy(trained[1:])].sum().item()
        count += trained.sum()
    assert measured == pytest.approx(total / count, rel=1e-5)


def test_best_weights_and_early_stop(fit):
    """A rate that blows the loss up after a good start: the best weights are kept and training stops."""
    schedule = {"keep_best": True, "early_stop": 2}
    model, state, folder = fit(
        plan={"epochs": 20},
        optimizer={"learning_rate": 0.5, "warmup": 100, "schedule": "constant"},
        schedule=schedule,
        eval_every=8,
    )
    rows = [row for row in read_rows(folder / "out" / "metrics.jsonl") if row["kind"] == "eval"]
    best = min(rows, key=lambda row: row["loss"])
    assert state.stopped_early and state.step < 160
    assert (state.best_step, state.best) == (best["step"], best["loss"])
    kept, step = checkpoint.load_best(folder / "scratch" / "best")
    assert step == best["step"]
    for name, tensor in kept.items():
        assert torch.equal(dict(model.named_parameters())[name.removeprefix("model.")].detach(), tensor)
    path = folder / "scratch" / "best" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"not the bytes that were written; delete .*scratch"):
        checkpoint.load_best(path.parent)
