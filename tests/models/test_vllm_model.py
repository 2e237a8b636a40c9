"""A model in vLLM answers with the weights that it was given last."""

import pytest
import torch

from xinglin.models.decoding import Sampling, sample_answers
from xinglin.models.merged import merged_weights
from xinglin.models.vllm import VllmModel

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = [[7, 8, 9], [30, 31, 32, 33, 34, 35], [7, 8, 9, 10]]
GREEDY = Sampling(12, (5, 6), temperature=0)


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "glm4"])
def test_answers_follow_the_weights(tiny, architecture):
    """Tied heads included, one model after another in the same process."""
    models = [tiny(architecture, seed=seed) for seed in (1, 2)]
    sampler = VllmModel.without_weights(
        models[0].config,
        architecture=type(models[0]).__name__,
        dtype=torch.float32,
        tokens=1024,
        longest=256,
    )
    seeds = [[(0,)]] * len(PROMPTS)
    for model in models:
        sampler.load(merged_weights(model))
        found = sampler.sample(PROMPTS, seeds, sampling=GREEDY)
        expected = sample_answers(model, PROMPTS, seeds, sampling=GREEDY, batch_tokens=4096)
        assert [[answer[:2] for answer in group] for group in found] == [
            [answer[:2] for answer in group] for group in expected
        ]


def test_more_prompts_than_are_read_at_once(tiny):
    model = tiny("qwen3", seed=1)
    sampler = VllmModel.without_weights(
        model.config, architecture=type(model).__name__, dtype=torch.float32, tokens=16384, longest=256
    )
    sampler.load(merged_weights(model))
    prompts = [[7 + n, *range(20, 220)] for n in range(50)]
    drawn = Sampling(3, (5, 6))
    (*_, last) = sampler.sample(prompts, [[(n,)] for n in range(50)], sampling=drawn)
    assert sampler.sample(prompts[-1:], [[(49,)]], sampling=drawn)[0][0].ids == last[0].ids
