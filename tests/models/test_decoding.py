"""Answers in batches are the answers one by one, and tokens are drawn with the probability they have."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from xinglin.errors import ModelError
from xinglin.models.decoding import Sampling, draw, sample_answers

LENGTHS = (5, 17, 3, 9, 9, 1)


def prompts(vocabulary=400):
    random = np.random.default_rng(1)
    return [random.integers(3, vocabulary, length).tolist() for length in LENGTHS]


def answers(model, asked, *, copies=1, batch_tokens=10_000, **sampling):
    settings = Sampling(**({"max_new_tokens": 24, "stop_ids": (0, 2), "temperature": 0.0} | sampling))
    seeds = [[(7, index, copy) for copy in range(copies)] for index in range(len(asked))]
    return sample_answers(model, asked, seeds, sampling=settings, batch_tokens=batch_tokens)


def generated(model, prompt, stops):
    config = GenerationConfig(max_new_tokens=24, do_sample=False, eos_token_id=list(stops), pad_token_id=0)
    ids = torch.tensor([prompt])
    with torch.no_grad():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "glm4", "bloom"])
def test_greedy_answers_are_those_of_generate_one_by_one(tiny, architecture):
    model = tiny(architecture, seed=3).eval()
    asked = prompts()
    free = [generated(model, prompt, (0,)) for prompt in asked]
    stops = (free[0][3], free[1][8], free[3][0])  # so that rows end at different times
    expected = [generated(model, prompt, stops) for prompt in asked]
    assert len({len(row) for row in expected}) > 2
    for batch_tokens in (1, 10_000):
        found = answers(model, asked, stop_ids=stops, batch_tokens=batch_tokens)
        assert [answer.ids for (answer,) in found] == expected
        assert [answer.stopped for (answer,) in found] == [row[-1] in stops for row in expected]


def test_an_answer_depends_on_its_seed_and_not_on_its_batch(tiny):
    model = tiny(seed=3).eval()
    asked = prompts()
    together = answers(model, asked, copies=3, temperature=1.0)
    apart = [answers(model, asked, copies=3, temperature=1.0, batch_tokens=1)[index] for index in range(6)]
    assert together == apart
    assert all(len({tuple(answer.ids) for answer in group}) == 3 for group in together)


def test_a_prompt_is_read_once_and_ended_rows_leave(tiny):
    model = tiny(seed=3).eval()
    read = []
    model.base_model.register_forward_hook(
        lambda module, args, kwargs, output: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    found = answers(model, prompts()[:2], copies=4, temperature=1.5, stop_ids=tuple(range(60)))
    assert read[0] == (2, 17)
    lengths = [len(answer.ids) for group in found for answer in group]
    assert [rows for rows, _ in read[1:]] == [
        sum(length > at for length in lengths) for at in range(1, max(lengths))
    ]


@pytest.mark.parametrize("restriction", [{}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.7}])
def test_tokens_are_drawn_with_their_probability(restriction):
    logits = torch.tensor([2.0, -1.0, 1.0, 0.5, float("-inf"), 1.5])
    settings = Sampling(max_new_tokens=1, stop_ids=(0,), temperature=0.7, **restriction)
    number = 20_000
    uniform = (torch.arange(number) + 0.5) / number
    found = torch.bincount(draw(logits.expand(number, -1), uniform, settings), minlength=6) / number
    expected = (logits / 0.7).softmax(0)
    ranked = expected.argsort(descending=True).tolist()
    kept = ranked[: restriction.get("top_k", 6)]
    mass, whole = 0.0, float(expected[kept].sum())
    for rank, token in enumerate(list(kept)):
        if mass >= restriction.get("top_p", 1.0) * whole:
            kept = kept[:rank]
            break
        mass += float(expected[token])
    expected = expected * torch.zeros(6).index_fill(0, torch.tensor(kept), 1.0)
    torch.testing.assert_close(found, expected / expected.sum(), atol=2e-4, rtol=0)


def test_the_highest_random_number_draws_a_token_that_has_a_probability():
    logits = torch.tensor([[0.0, 0.3, float("-inf"), float("-inf")]] * 1000) + torch.randn(1000, 1)
    highest = torch.full((1000,), float(np.nextafter(np.float32(1), np.float32(0))))
    settings = Sampling(max_new_tokens=1, stop_ids=(0,), temperature=0.9)
    assert set(draw(logits, highest, settings).tolist()) == {1}


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.9}])
def test_a_model_without_finite_probabilities_is_refused(tiny, sampling):
    model = tiny(seed=3).eval()
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    with pytest.raises(ModelError, match="probabilities are not finite"):
        answers(model, prompts(), **sampling)
