"""Who may write answers to learn from, and how far they are from the model that learns."""

import pytest
import torch
from pydantic import ValidationError

from xinglin import engines
from xinglin.errors import ModelError, TrainingError
from xinglin.models.decoding import Answer, Sampling
from xinglin.stages import grpo
from xinglin.train.rl.sampler import sampler_gap


def config(**changes):
    settings = {
        "split": "talk",
        "engine": "vllm",
        "answers_per_prompt": 4,
        "max_tokens": 64,
        "max_new_tokens": 8,
    }
    rewards = [{"name": "unfinished"}]
    return grpo.Config.model_validate({"kind": "grpo", **settings, "rewards": rewards, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization": "4bit"}, "engine: vllm takes no weights that are quantized"),
        ({"generation_tokens": 63}, "63 has no room for one sequence of max_tokens 64"),
        ({"engine": "llama.cpp"}, "Input should be 'transformers' or 'vllm'"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_a_recipe_is_refused_where_vllm_is_not_installed(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "vllm" else name)
    with pytest.raises(ModelError, match="the package vllm is not installed"):
        grpo.check(config(), {})
    grpo.check(config(engine="transformers"), {})


def test_the_gap_is_a_mean_over_tokens_and_another_model_is_noticed():
    answers = [Answer([3, 4], False, [-1.0, -2.0]), Answer([5], True, [-0.5])]
    sampling = Sampling(2, (5,))
    assert sampler_gap(answers, torch.tensor([-1.3, -2.0, -0.5]), sampling) == pytest.approx(0.1)
    far = torch.tensor([-3.0, -5.0, -0.5])
    with pytest.raises(TrainingError, match=r"1\.67 away from the model's own"):
        sampler_gap(answers, far, sampling)
    truncated = Sampling(2, (5,), top_p=0.9)
    assert sampler_gap(answers, far, truncated) == pytest.approx(5 / 3)
