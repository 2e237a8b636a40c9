"""A beginning that is laid once = every sequence complete: log-probabilities, hidden states and gradients."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.packing import pack_groups, pack_sequences
from xinglin.models import attention
from xinglin.models.attention import isolated, packed_attention, per_sequence_attention
from xinglin.models.packed import PackedModel

WANTS = ("log_probs", "entropy", "hidden", "last_hidden")


def random_groups(seed, groups=3, *, most=5):
    """Up to ``most`` answers each; some begin alike, one may be the beginning of another."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(groups):
        prompt = random.integers(0, 280, random.integers(0, 25))
        answers = [random.integers(0, 3, random.integers(1, 12)) for _ in range(random.integers(1, most + 1))]
        sequences = [np.concatenate([prompt, answer]) for answer in answers]
        made.append([(ids, random.random(len(ids)) < 0.6) for ids in sequences])
    return made


def read(model, packed):
    """Everything that is wanted of a batch, and the gradients of a number made of it."""
    found = model(packed, want=WANTS)
    waves = [torch.sin(torch.arange(part.numel())).view_as(part) for part in found]
    sum((part * wave).sum() for part, wave in zip(found, waves, strict=True)).backward()
    slopes = {name: part.grad for name, part in model.named_parameters() if part.grad is not None}
    model.zero_grad()
    return found, slopes


def assert_shared_equals_separate(model, groups):
    """In float64, where the order of a sum makes no difference to speak of."""
    model.double()
    wrapper = PackedModel(model)
    plain, shared = pack_sequences([example for group in groups for example in group]), pack_groups(groups)
    assert shared.input_ids.shape[1] < plain.input_ids.shape[1]
    expected, slopes = read(wrapper, plain)
    apart = read(wrapper, shared)
    with packed_attention(wrapper.core):
        together = read(wrapper, shared)
    for found, gradients in (together, apart):
        for name, ours, theirs in zip(WANTS, found, expected, strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: name + text
            )
        assert slopes.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, slopes[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tuning", ["full", "lora", "checkpointing"])
def test_shared_equals_separate(tiny, architecture, tuning):
    model = tiny(architecture).train()
    if tuning == "checkpointing":
        model.activation_checkpointing_enable()
    if tuning == "lora":
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, part in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(part, std=0.1)
    for seed in range(3):
        assert_shared_equals_separate(model, random_groups(seed))


@pytest.mark.parametrize("window", [1, 4, 9])
def test_a_sliding_window_reaches_into_the_shared_beginning(window):
    config = AutoConfig.for_model(
        "mistral",
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    assert isolated(model) and isolated(model, share=True)
    assert_shared_equals_separate(model, random_groups(7))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sharing_is_tried_out(tiny, architecture):
    assert isolated(tiny(architecture), share=True)


def test_an_attention_that_knows_no_shared_beginning_is_found_out(tiny, monkeypatch):
    monkeypatch.setattr(attention, "_complete", lambda states, packed: states.split(packed.lengths, dim=2))
    model = tiny()
    assert isolated(model)
    assert not isolated(model, share=True)


def test_wants_are_what_they_say(tiny):
    model = tiny().eval()
    ids, trained = random_groups(1)[0][0]
    logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
    at = torch.from_numpy(np.flatnonzero(trained[1:]))
    wrapper = PackedModel(model)
    with packed_attention(model), torch.no_grad():
        packed = pack_sequences([(ids, trained)])
        log_probs, entropy, hidden, last = wrapper(packed, want=WANTS)
        assert wrapper(packed, want="hidden").equal(hidden)
        weights = np.where(trained, 0.25, 0).astype(np.float32)
        weighted = wrapper(pack_sequences([(ids, weights)]))
    torch.testing.assert_close(log_probs, logits[at, torch.from_numpy(ids)[at + 1]])
    torch.testing.assert_close(entropy, -(logits.exp() * logits).sum(-1)[at])
    torch.testing.assert_close(model.lm_head(hidden).log_softmax(-1), logits[at])
    torch.testing.assert_close(model.lm_head(last).log_softmax(-1), logits[-1:])
    torch.testing.assert_close(weighted, -0.25 * log_probs.sum())


def bottom_right(
    query, key, value, boundaries, key_boundaries, most, most_keys, *, scale, window_size, enable_gqa
):
    """What FlashAttention computes for variable lengths: (T, heads, width); query i of q sees keys to k - q + i."""
    left, _ = window_size
    key, value = (states.repeat_interleave(query.shape[1] // states.shape[1], 1) for states in (key, value))
    assert enable_gqa and most == max(boundaries.diff()) and most_keys == max(key_boundaries.diff())
    pieces = []
    for number in range(len(boundaries) - 1):
        own = slice(boundaries[number], boundaries[number + 1])
        seen = slice(key_boundaries[number], key_boundaries[number + 1])
        scores = torch.einsum("qhd,khd->hqk", query[own], key[seen]) * scale
        _, queries, keys = scores.shape
        distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
        hidden = (distance < 0) | (distance > left if left >= 0 else False)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        pieces.append(torch.einsum("hqk,khd->qhd", weights, value[seen]))
    return torch.cat(pieces)


@pytest.mark.parametrize("window", [None, 5])
def test_the_gpu_is_asked_for_the_same(monkeypatch, window):
    """The one call that CUDA gets, answered here by the definition of what it computes."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", bottom_right)
    packed = pack_groups(random_groups(3))
    assert packed.shared
    torch.manual_seed(0)
    total = packed.input_ids.shape[1]
    query, key, value = (torch.randn(1, heads, total, 8) for heads in (4, 2, 2))
    expected, _ = per_sequence_attention(
        torch.nn.Identity(), query, key, value, None, packed=packed, scaling=0.3, sliding_window=window
    )
    found = attention._varlen(query, key, value, packed, 0.3, window, True)
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shared_equals_separate_on_a_gpu(tiny, architecture):
    """In bfloat16, to a few of its steps: FlashAttention for queries that are fewer than their keys."""
    model = tiny(architecture).to("cuda", torch.bfloat16)
    groups = random_groups(5)
    wrapper = PackedModel(model)
    assert isolated(model, share=True)
    with packed_attention(model), torch.no_grad():
        shared, separate = (
            wrapper(packed.to("cuda"), want="log_probs")
            for packed in (pack_groups(groups), pack_sequences([each for group in groups for each in group]))
        )
    torch.testing.assert_close(shared, separate, rtol=0, atol=0.1)
