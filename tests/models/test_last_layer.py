"""What the last layer leaves out was read by nobody: numbers and gradients are those of the whole layer."""

import copy

import numpy as np
import pytest
import torch

from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.packing import pack_groups
from xinglin.models.attention import packed_attention
from xinglin.models.last_layer import narrow_last_layer
from xinglin.models.packed import PackedModel

NARROW = {"qwen3", "llama"}
COMBINATIONS = [("last_hidden",), ("hidden",), ("nll", "last_hidden"), ("log_probs", "hidden", "last_hidden")]


def batch():
    """Groups that share a beginning; one sequence has a question that is most of it, one has nothing trained."""
    random = np.random.default_rng(5)
    groups = []
    for prompt, answers in ((30, (4, 9)), (2, (25,)), (12, (1, 1))):
        ids = random.integers(0, 280, prompt)
        whole = [np.concatenate([ids, random.integers(0, 280, length)]) for length in answers]
        groups.append([(each, np.arange(len(each)) >= prompt) for each in whole])
    groups[1][0][1][:] = False
    return pack_groups(groups)


def found_and_gradients(wrapper, packed, wants):
    with packed_attention(wrapper.core):
        found = wrapper(packed, want=wants)
        sum(torch.sin(part).sum() for part in found).backward()
    gradients = {
        name: part.grad.clone() for name, part in wrapper.named_parameters() if part.grad is not None
    }
    wrapper.zero_grad()
    return found, gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("wants", COMBINATIONS)
def test_what_is_read_is_what_the_whole_layer_gives(tiny, architecture, checkpointing, wants):
    model = tiny(architecture).double().train()
    if checkpointing:
        model.activation_checkpointing_enable()
    wrapper, packed = PackedModel(model), batch()
    assert wrapper.narrow == (architecture in NARROW)
    found, gradients = found_and_gradients(wrapper, packed, wants)
    wrapper.narrow = False
    expected, slopes = found_and_gradients(wrapper, packed, wants)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == slopes.keys()
    torch.testing.assert_close(gradients, slopes, rtol=1e-5, atol=1e-5)


def test_the_last_mlp_sees_what_is_read_only(tiny):
    model, packed = tiny("qwen3"), batch()
    seen = []
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda module, given, result: seen.append(given[0].shape[1]))
    wrapper = PackedModel(model)
    seen.clear()
    with packed_attention(model):
        wrapper(packed, want="last_hidden")
    assert seen == [sum(packed.lengths), len(packed.lengths)]


def test_a_layer_that_adds_up_in_another_way_stays_whole(tiny, monkeypatch):
    model = tiny("qwen3")
    kind = type(model.model.layers[-1])
    before = kind.forward
    monkeypatch.setattr(kind, "forward", lambda layer, *given, **named: 0.5 + before(layer, *given, **named))
    assert not narrow_last_layer(model)
    assert "forward" not in vars(model.model.layers[-1])


def test_a_copy_of_the_model_has_its_own_last_layer(tiny):
    wrapper = PackedModel(tiny("qwen3"))
    twin = copy.deepcopy(wrapper)
    torch.nn.init.zeros_(wrapper.core.model.layers[-1].mlp.down_proj.weight)
    packed = batch()
    with packed_attention(wrapper.core), packed_attention(twin.core), torch.no_grad():
        assert not torch.allclose(wrapper(packed, want="last_hidden"), twin(packed, want="last_hidden"))
