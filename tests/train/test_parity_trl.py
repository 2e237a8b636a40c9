"""SFT, DPO and KTO losses and gradients equal TRL's on random batches (fp32)."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from xinglin.data.packing import Plan, pack, pack_groups, pack_sequences
from xinglin.data.shards import Shards, ShardWriter
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel, sequence_sums
from xinglin.train.kto import KlBaseline
from xinglin.train.objectives.dpo import Objective as Dpo
from xinglin.train.objectives.rated import Objective as Rated
from xinglin.train.preference_losses import PreferenceLoss
from xinglin.train.reference import summed_log_probs

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
]
BATCHES = 20
ARGUMENTS = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "disable_tqdm": True,
}


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def assert_same(ours, theirs):
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=1e-3, atol=1e-6, msg=lambda text, name=name: name + text
        )


def pad(rows, value):
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def test_sft(tiny, tokenizer, tmp_path):
    model = tiny("qwen3", seed=2).train()
    rows = datasets.Dataset.from_list([{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}])
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(output_dir=str(tmp_path), **ARGUMENTS),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    wrapper = PackedModel(model)
    random = np.random.default_rng(0)
    for _ in range(BATCHES):
        sequences = [
            (random.integers(3, 390, length), random.random(length) < 0.5)
            for length in random.integers(2, 60, size=6)
        ]
        labels = [np.where(trained, ids, -100) for ids, trained in sequences]
        inputs = {
            "input_ids": pad([ids for ids, _ in sequences], 0),
            "attention_mask": pad([np.ones_like(ids) for ids, _ in sequences], 0),
            "labels": pad(labels, -100),
        }
        theirs = trainer.compute_loss(model, inputs)
        theirs.backward()
        expected = gradients(model)
        packed = pack_sequences(sequences)
        with packed_attention(model):
            ours = wrapper(packed) / len(packed.targets)
            ours.backward()
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
        assert_same(gradients(model), expected)


@pytest.mark.parametrize(
    "loss",
    [
        PreferenceLoss("sigmoid", beta=0.3),
        PreferenceLoss("hinge", beta=0.3),
        PreferenceLoss("ipo", beta=0.3),
        PreferenceLoss("robust", beta=0.3, label_smoothing=0.2),
        PreferenceLoss("exo_pair", beta=0.3, label_smoothing=0.2),
        PreferenceLoss("nca_pair", beta=0.3),
        PreferenceLoss("apo_zero", beta=0.3),
        PreferenceLoss("apo_down", beta=0.3),
    ],
    ids=lambda loss: loss.name,
)
def test_dpo(tiny, tokenizer, tmp_path, loss):
    """Through both trainers' own losses, TRL on padded pairs, ours on pairs that share their prompt."""
    model, reference = tiny("qwen3", seed=2).train(), tiny("qwen3", seed=3).eval()
    rows = datasets.Dataset.from_list([{"prompt": "你好", "chosen": "您好。", "rejected": "不。"}])
    arguments = {
        "loss_type": loss.name,
        "beta": loss.beta,
        "label_smoothing": loss.label_smoothing,
        "max_length": None,
    }
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=copy.deepcopy(reference),
        args=trl.DPOConfig(output_dir=str(tmp_path), **arguments, **ARGUMENTS),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    wrapper, reference_wrapper = PackedModel(model), PackedModel(reference)
    random = np.random.default_rng(1)
    for _ in range(BATCHES if loss.name == "sigmoid" else 3):
        pairs = [random_pair(random) for _ in range(4)]
        chosen, rejected = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        inputs = {
            "input_ids": pad([ids for ids, _ in chosen + rejected], 0),
            "attention_mask": pad([np.ones_like(ids) for ids, _ in chosen + rejected], 0),
            "completion_mask": pad([mask.astype(int) for _, mask in chosen + rejected], 0),
        }
        theirs = trainer.compute_loss(model, inputs)
        theirs.backward()
        expected = gradients(model)
        packed = pack_groups(pairs)
        with packed_attention(reference), torch.no_grad():
            known = sequence_sums(reference_wrapper(packed, want="log_probs"), packed)
        with packed_attention(model):
            total, metrics = Dpo(loss, reference=known).loss(wrapper, packed, np.arange(8))
            (total / 4).backward()
        assert (total / 4).item() == pytest.approx(theirs.item(), rel=1e-5)
        assert 0 <= metrics["accuracy"].item() <= 4
        assert_same(gradients(model), expected)


def kto_session(tmp_path, model) -> Any:
    return SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        model=model,
        base="tiny:qwen3",
        share=True,
        run=SimpleNamespace(scratch=tmp_path),
        config=SimpleNamespace(packing=True, micro_batch_tokens=64, continue_="new"),
    )


def kto_trainer(tmp_path, tokenizer, model, reference):
    rows = datasets.Dataset.from_list([{"prompt": "你好", "completion": "您好。", "label": True}] * 2)
    arguments = {"beta": 0.3, "desirable_weight": 1.4, "undesirable_weight": 0.6, "max_length": None}
    return trl.KTOTrainer(
        model=model,
        ref_model=copy.deepcopy(reference),
        args=trl.KTOConfig(output_dir=str(tmp_path), per_device_train_batch_size=2, **arguments, **ARGUMENTS),
        train_dataset=rows,
        processing_class=tokenizer,
    )


def kto_inputs(examples, foreign, labels):
    inputs = {"label": torch.tensor(labels)}
    for prefix, sequences in (("", examples), ("KL_", foreign)):
        inputs[f"{prefix}input_ids"] = pad([ids for ids, _ in sequences], 0)
        inputs[f"{prefix}attention_mask"] = pad([np.ones_like(ids) for ids, _ in sequences], 0)
        inputs[f"{prefix}completion_mask"] = pad([mask.astype(int) for _, mask in sequences], 0)
    return inputs


@pytest.mark.parametrize("labels", [[True, False, False, True, True, False, True], [False] * 7])
def test_kto_of_rated_answers(tiny, tokenizer, tmp_path, labels):
    """Single answers, each good or bad, of one sort only too."""
    model, reference = (tiny("qwen3", seed=seed).train() for seed in (3, 2))
    trainer = kto_trainer(tmp_path, tokenizer, model, reference)
    random = np.random.default_rng(1)
    examples = [random_pair(random)[0] for _ in labels]
    writer = ShardWriter(tmp_path / "shards", vocabulary=400)
    for row, (ids, mask) in enumerate(examples):
        writer.add(ids, mask, row=row)
    writer.close()
    shards = Shards(writer.folder)
    wrapper, reference_wrapper = PackedModel(model), PackedModel(reference)
    session = kto_session(tmp_path, reference_wrapper)
    step = Plan(shards.lengths, shards.counts, batch_size=7, micro_batch_tokens=60)[0]
    assert len(step.micro_batches[0]) > 2
    with packed_attention(reference):
        known = summed_log_probs(
            session,
            Plan(shards.lengths, shards.counts, batch_size=3, micro_batch_tokens=70),
            lambda indices: pack(shards, indices),
            number=7,
            content="answers",
        )
        loss = PreferenceLoss("kto", beta=0.3, desirable_weight=1.4, undesirable_weight=0.6)
        objective = Rated(loss, torch.tensor(labels), reference=known)
        baseline = KlBaseline(session, shards, objective, precompute=True)
    with packed_attention(model):
        baseline(wrapper, step)
        parts = [objective.loss(wrapper, pack(shards, indices), indices) for indices in step.micro_batches[0]]
        total = sum(part for part, _ in parts) / objective.weight(step)
        total.backward()
    ours = gradients(model)
    foreign = [baseline.foreign(answer) for answer in range(7)]
    theirs = trainer.compute_loss(model, kto_inputs(examples, foreign, labels))
    theirs.backward()
    logged = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert objective.kl.item() == pytest.approx(logged["kl"], rel=1e-5) and objective.kl > 0
    assert total.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert_same(ours, gradients(model))
    for ours_name, theirs_name in (
        ("chosen_reward", "rewards/chosen"),
        ("rejected_log_prob", "logps/rejected"),
    ):
        value, number = (sum(part[1][ours_name][at] for part in parts) for at in (0, 1))
        if number and theirs_name in logged:
            assert (value / number).item() == pytest.approx(logged[theirs_name], rel=1e-4)


@pytest.mark.parametrize("seeds", [(2, 3), (3, 2)])
def test_kto(tiny, tokenizer, tmp_path, seeds):
    """The loss, and the baseline on the same foreign answers, with the reference computed before."""
    model, reference = (tiny("qwen3", seed=seed).train() for seed in seeds)
    trainer = kto_trainer(tmp_path, tokenizer, model, reference)
    random = np.random.default_rng(1)
    pairs = [random_pair(random) for _ in range(5)]
    writer = ShardWriter(tmp_path / "shards", vocabulary=400, group=2)
    for row, pair in enumerate(pairs):
        for ids, mask in pair:
            writer.add(ids, mask, row=row)
    writer.close()
    shards = Shards(writer.folder)
    wrapper, reference_wrapper = PackedModel(model), PackedModel(reference)
    session = kto_session(tmp_path, reference_wrapper)
    loss = PreferenceLoss("kto", beta=0.3, desirable_weight=1.4, undesirable_weight=0.6)
    step = Plan(shards.lengths, shards.counts, group=2, batch_size=5, micro_batch_tokens=60)[0]
    assert len(step.micro_batches[0]) > 2
    with packed_attention(reference):
        known = summed_log_probs(
            session,
            Plan(shards.lengths, shards.counts, batch_size=3, micro_batch_tokens=70),
            lambda indices: pack(shards, indices),
            number=10,
            content="pairs",
        )
        objective = Dpo(loss, reference=known)
        baseline = KlBaseline(session, shards, objective, precompute=True)
    with packed_attention(model):
        baseline(wrapper, step)
        parts = [
            objective.loss(wrapper, pack(shards, indices, share=True), indices)
            for indices in step.micro_batches[0]
        ]
        total = sum(part for part, _ in parts) / 5
        total.backward()
    ours = gradients(model)
    examples = [example for pair in pairs for example in pair]
    foreign = [baseline.foreign(pair) for pair in range(5)]
    inputs = kto_inputs(examples, foreign, [True, False] * 5)
    theirs = trainer.compute_loss(model, inputs)
    theirs.backward()
    assert objective.kl.item() == pytest.approx(trainer._metrics["train"]["kl"][0], rel=1e-5)
    assert (objective.kl > 0) == (seeds == (3, 2)), "below 0 it is cut off"
    assert total.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert_same(ours, gradients(model))


def random_pair(random):
    """(ids, completion mask) of a chosen and a rejected answer to one prompt."""
    prompt = random.integers(3, 390, random.integers(1, 30))
    pair = []
    for _ in range(2):
        answer = random.integers(3, 390, random.integers(1, 30))
        mask = np.arange(len(prompt) + len(answer)) >= len(prompt)
        pair.append((np.concatenate([prompt, answer]), mask))
    return pair
