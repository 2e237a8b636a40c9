"""Policy, reference and value share a trunk and nothing else."""

import numpy as np
import pytest
import torch

from xinglin.config.parts import Lora
from xinglin.data.packing import pack_sequences
from xinglin.models.attention import packed_attention
from xinglin.models.lora import add_lora
from xinglin.models.packed import PackedModel
from xinglin.models.trunk import using_adapter
from xinglin.train.rl.actor import VALUE, Actor, Reference


@pytest.fixture
def packed():
    random = np.random.default_rng(0)
    rows = [random.integers(0, 400, length) for length in (9, 5, 12)]
    return pack_sequences([(row, np.arange(len(row)) > 2) for row in rows])


def moved(actor, *, seed=5):
    """Every trained weight pushed away from where it began."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return actor


def adapted(tiny, **settings):
    return Actor(
        add_lora(tiny(seed=1), Lora(), seed=2), **({"temperature": 1.0, "critic": "adapter"} | settings)
    )


@pytest.mark.parametrize("critic", ["shared", "adapter"])
def test_the_reference_is_the_model_that_training_started_from(tiny, packed, critic):
    start = PackedModel(tiny(seed=1))(packed, want="log_probs")
    actor = adapted(tiny, critic=critic)
    reference = Reference(actor)
    moved(actor)
    trained = [name for name, each in actor.named_parameters() if each.requires_grad]
    with packed_attention(actor.core), torch.no_grad():
        with reference.on_duty() as model:
            torch.testing.assert_close(model(packed, want="log_probs"), start, atol=1e-5, rtol=1e-4)
        assert (actor(packed, want="log_probs") - start).abs().max() > 0.1
    assert [name for name, each in actor.named_parameters() if each.requires_grad] == trained


@pytest.mark.parametrize("trainable", [True, False])
def test_without_an_adapter_the_reference_is_a_copy(tiny, packed, trainable):
    model = tiny(seed=1)
    start = PackedModel(model)(packed, want="log_probs").detach()
    frozen = model.get_input_embeddings().weight.requires_grad_(trainable)
    actor = Actor(model, temperature=1.0, critic="shared")
    reference = Reference(actor)
    moved(actor)
    with reference.on_duty() as model, torch.no_grad():
        torch.testing.assert_close(model(packed, want="log_probs"), start, atol=1e-5, rtol=1e-4)
        shared = any(each is frozen for each in model.parameters())
        assert shared is not trainable, "what is not trained is in memory once"


def test_a_value_adapter_and_the_policy_do_not_touch_each_other(tiny, packed):
    actor = moved(adapted(tiny))
    with packed_attention(actor.core):
        log_probs, values = actor(packed, want=("log_probs", "values"))
        values.square().sum().backward(retain_graph=True)
        touched = {
            name for name, each in actor.named_parameters() if each.grad is not None and each.grad.any()
        }
        assert touched and all(f".{VALUE}." in name or "value_head" in name for name in touched)
        actor.zero_grad()
        log_probs.sum().backward()
        touched = {
            name for name, each in actor.named_parameters() if each.grad is not None and each.grad.any()
        }
        assert touched and all(".default." in name for name in touched)


def test_shared_values_are_read_from_the_policys_hidden_states(tiny, packed):
    actor = moved(adapted(tiny, critic="shared"))
    values, hidden = actor(packed, want=("values", "hidden"))
    torch.testing.assert_close(values, hidden @ actor.value_head.weight[0] + actor.value_head.bias)


@pytest.mark.parametrize("architecture", ["qwen3", "bloom"])
def test_probabilities_are_those_of_the_temperature(tiny, packed, architecture):
    actor = Actor(tiny(architecture, seed=1), temperature=0.6, critic=None)
    with torch.no_grad():
        found = actor(packed, want="log_probs")
        for one, mine in zip(
            packed.apart(), found.split([len(one.targets) for one in packed.apart()]), strict=True
        ):
            logits = actor.core(input_ids=one.input_ids).logits[0, one.predictors] / 0.6
            expected = logits.log_softmax(-1).gather(-1, one.targets[:, None])[:, 0]
            torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)


def test_switching_adapters_is_what_peft_does(tiny, packed):
    actor = moved(adapted(tiny))
    with torch.no_grad():
        with actor.model.disable_adapter():
            base = actor(packed, want="log_probs")
        actor.model.set_adapter(VALUE)
        other = actor(packed, want="log_probs")
        actor.model.set_adapter("default")
        for name, expected in ((None, base), (VALUE, other)):
            with using_adapter(actor.model, name):
                assert torch.equal(actor(packed, want="log_probs"), expected)


def test_the_policy_is_left_without_a_critic(tiny):
    actor = adapted(tiny)
    actor.drop_critic()
    assert not any(VALUE in name for name, _ in actor.model.named_parameters())
