"""SFT and DPO losses and gradients equal TRL's on 20 random batches each (fp32)."""

import copy

import numpy as np
import pytest
import torch

from xinglin.data.packing import pack_sequences
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel, sequence_sums
from xinglin.train.objectives.dpo import Objective as Dpo

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


def test_dpo(tiny, tokenizer, tmp_path):
    model, reference = tiny("qwen3", seed=2).train(), tiny("qwen3", seed=3).eval()
    rows = datasets.Dataset.from_list([{"prompt": "你好", "chosen": "您好。", "rejected": "不。"}])
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=copy.deepcopy(reference),
        args=trl.DPOConfig(output_dir=str(tmp_path), beta=0.3, max_length=None, **ARGUMENTS),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    wrapper, reference_wrapper = PackedModel(model), PackedModel(reference)
    random = np.random.default_rng(1)
    for _ in range(BATCHES):
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
        packed = pack_sequences([sequence for pair in pairs for sequence in pair])
        with packed_attention(reference), torch.no_grad():
            known = sequence_sums(reference_wrapper(packed, want="log_probs"), packed)
        with packed_attention(model):
            total, metrics = Dpo(known, beta=0.3).loss(wrapper, packed, np.arange(8))
            (total / 4).backward()
        assert (total / 4).item() == pytest.approx(theirs.item(), rel=1e-5)
        assert 0 <= metrics["accuracy"].item() <= 4
        assert_same(gradients(model), expected)


def random_pair(random):
    """(ids, completion mask) of a chosen and a rejected answer to one prompt."""
    prompt = random.integers(3, 390, random.integers(1, 30))
    pair = []
    for _ in range(2):
        answer = random.integers(3, 390, random.integers(1, 30))
        mask = np.arange(len(prompt) + len(answer)) >= len(prompt)
        pair.append((np.concatenate([prompt, answer]), mask))
    return pair
