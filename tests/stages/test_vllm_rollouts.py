"""Answers of vLLM to learn from: drawn with the weights of the moment, and the same ones after an interruption."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin.errors import Interrupted
from xinglin.report.curves import read
from xinglin.train.rl.sampler import OwnSampler, VllmSampler

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = {
    "model": "base",
    "data": "stage:data",
    "split": "talk",
    "engine": "vllm",
    "generation_tokens": 1024,
    "max_tokens": 64,
    "max_new_tokens": 8,
    "rollout_prompts": 6,
    "batch_size": 8,
    "rollout_epochs": 2,
    "log_every_steps": 1,
    "rewards": [{"name": "format", "pattern": ".*[a-m].*"}],
    "optimizer": {"learning_rate": 1e-2},
}


@pytest.fixture
def stages(tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": f"第{n}问？"}, {"role": "assistant", "content": "答。"}]}
        for n in range(10)
    ]
    path = tmp_path / "talk.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = Stages(tmp_path / "run")
    splits = {
        "talk": {"sources": [{"path": str(path)}]},
        "dev": {"sources": [{"path": str(path)}], "held_out": True},
    }
    made.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 300, "max_tokens": 128})
    return made


def rollouts(artifact):
    return [row for row in read(artifact.folder / "metrics.jsonl") if row["kind"] == "rollout"]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("grpo", {"answers_per_prompt": 4}),
        ("ppo", {"value": "adapter", "rollout_prompts": 24, "kl_coefficient": 0.01, "max_steps": 102}),
        (
            "rloo",
            {
                "answers_per_prompt": 4,
                "kl_coefficient": 0.01,
                "tuning": "full",
                "optimizer": {"learning_rate": 2e-3},
            },
        ),
    ],
    ids=["grpo", "ppo", "rloo-full"],
)
def test_it_learns_from_answers_of_its_own_newest_weights(stages, kind, settings):
    """Were vLLM's weights older than the model's, its probabilities would be others."""
    made = stages.run(kind, {**SETTINGS, "epochs": 40, "max_steps": 72, "eval_split": "dev", **settings})
    rows = rollouts(made)
    assert len(rows) > 5 and max(row["sampler_gap"] for row in rows) < 1e-3
    rewards = [row["reward"] for row in rows]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + (0.25 if kind == "ppo" else 0.1), rewards


def test_what_is_learned_depends_on_the_answers_alone(stages, monkeypatch):
    """Merging the weights for vLLM and its work beside the model leave nothing behind: the bits are those of a run
    in which the model itself gives vLLM's answers."""
    settings = {**SETTINGS, "value": "adapter", "kl_coefficient": 0.01, "batch_size": 3}
    settings |= {"epochs": 40, "max_steps": 16, "eval_split": "dev", "eval_every_steps": 4}
    told = []
    write = VllmSampler.__call__

    def write_and_tell(*args, **named):
        told.append(write(*args, **named))
        return told[-1]

    monkeypatch.setattr(VllmSampler, "__call__", write_and_tell)
    one = stages.run("ppo", settings, name="vllm")
    again = iter(told)
    monkeypatch.setattr(OwnSampler, "__call__", lambda self, *args, **named: next(again))
    other = stages.run("ppo", {**settings, "engine": "transformers"}, name="own")
    assert next(again, None) is None
    weights, others = (load_file(made.folder / "adapter_model.safetensors") for made in (one, other))
    assert weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)
    for row, twin in zip(rollouts(one), rollouts(other), strict=True):
        assert {**twin, "sampler_gap": row["sampler_gap"]} == row


def test_a_resumed_run_ends_with_the_same_bits(stages):
    settings = {**SETTINGS, "answers_per_prompt": 4, "epochs": 9, "max_steps": 7, "save_every_steps": 3}
    settings |= {"eval_split": "dev", "eval_every_steps": 4}
    whole = stages.run("grpo", settings, name="whole")
    for stop in (2, 5, 3):
        with pytest.raises(Interrupted):
            stages.run("grpo", settings, name="again", stop_after=stop)
    again = stages.run("grpo", settings, name="again")
    one, two = (load_file(made.folder / "adapter_model.safetensors") for made in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert rollouts(whole) == rollouts(again)
