"""The pairwise loss, with margins and centring, and its gradients equal TRL's on random batches (fp32)."""

import numpy as np
import pytest
import torch

from xinglin.data.packing import pack_groups
from xinglin.data.rendering import Renderer
from xinglin.data.templates import load_template
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel
from xinglin.models.score_head import add_score_head
from xinglin.train.objectives.reward import Objective, pairwise_loss

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
BATCHES, PAIRS = 10, 4


def random_pair(random):
    """Token ids of a chosen and a rejected answer after one prompt."""
    prompt = random.integers(3, 390, random.integers(1, 30))
    return [np.concatenate([prompt, random.integers(3, 390, random.integers(1, 30))]) for _ in range(2)]


def pad(rows, value):
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.mark.parametrize(("center", "margins"), [(0.0, False), (0.01, False), (0.5, True)])
def test_trl(tiny, tokenizer, tmp_path, monkeypatch, center, margins):
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    tokenizer.chat_template = load_template("chatml")
    model = add_score_head(tiny("qwen3", seed=2), Renderer(tokenizer), seed=1).train()
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(
            output_dir=str(tmp_path),
            center_rewards_coefficient=center or None,
            use_cpu=True,
            bf16=False,
            report_to="none",
            gradient_checkpointing=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": "你好", "chosen": "您好。", "rejected": "不。"}]
        ),
        processing_class=tokenizer,
    )
    wrapper, random = PackedModel(model), np.random.default_rng(0)
    for _ in range(BATCHES):
        pairs = [random_pair(random) for _ in range(PAIRS)]
        wanted = random.random(PAIRS).astype(np.float32) if margins else np.zeros(PAIRS, np.float32)
        rows = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
        inputs = {
            "input_ids": pad(rows, model.config.pad_token_id),
            "attention_mask": pad([np.ones_like(row) for row in rows], 0),
            **({"margin": torch.from_numpy(wanted)} if margins else {}),
        }
        theirs = trainer.compute_loss(model, inputs)
        theirs.backward()
        expected = gradients(model)
        objective = Objective(torch.from_numpy(wanted), torch.ones(PAIRS), center=center)
        packed = pack_groups([[(ids, np.zeros(len(ids), bool)) for ids in pair] for pair in pairs])
        with packed_attention(model):
            total, metrics = objective.loss(wrapper, packed, np.arange(2 * PAIRS))
            (total / PAIRS).backward()
        assert (total / PAIRS).item() == pytest.approx(theirs.item(), rel=1e-5)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)
        logged = trainer._metrics["train"]
        assert metrics["accuracy"].item() / PAIRS == pytest.approx(logged["accuracy"][-1])
        assert metrics["margin"].item() / PAIRS == pytest.approx(logged["margin"][-1], abs=1e-5)


def test_the_loss_against_float64(tmp_path):
    random = np.random.default_rng(3)
    scores, margins = random.normal(size=(50, 2)) * 5, random.random(50)
    lead = scores[:, 0] - scores[:, 1] - margins
    expected = np.logaddexp(0, -lead) + 0.3 * (scores[:, 0] + scores[:, 1]) ** 2
    found = pairwise_loss(torch.from_numpy(scores), torch.from_numpy(margins), center=0.3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
