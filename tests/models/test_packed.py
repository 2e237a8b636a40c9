"""Packed = unpacked, for every architecture; fused = plain; what cannot be isolated is refused."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.packing import pack_sequences
from xinglin.errors import ModelError
from xinglin.models.attention import check_isolation, packed_attention, packed_inputs
from xinglin.models.packed import (
    PackedModel,
    linear_log_probs,
    linear_log_probs_and_entropy,
    linear_nll,
    sequence_sums,
)

FOREIGN = {
    "gemma2": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "attn_logit_softcapping": 2.0,
    },
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 2},
}
"""Architectures that packing cannot keep as they are."""


def foreign(architecture):
    config = AutoConfig.for_model(architecture, vocab_size=300, **FOREIGN[architecture])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def random_sequences(seed, lengths=(40, 3, 17, 99)):
    random = np.random.default_rng(seed)
    return [(random.integers(0, 280, length), random.random(length) < 0.6) for length in lengths]


def reference(model, sequences):
    """Loss and logits of one sequence at a time, through the model's own attention."""
    loss, logits = 0, []
    for ids, trained in sequences:
        row = torch.from_numpy(ids)[None]
        out = model(input_ids=row, use_cache=False).logits[0]
        wanted = torch.from_numpy(trained[1:])
        loss = loss + cross_entropy(out[:-1][wanted], row[0, 1:][wanted], reduction="sum")
        logits.append(out)
    return loss, torch.cat(logits)


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_equals_one_by_one(tiny, architecture, checkpointing):
    model = tiny(architecture).train()
    sequences = random_sequences(1)
    expected, logits = reference(model, sequences)
    expected.backward()
    expected_gradients = gradients(model)
    if checkpointing:
        model.activation_checkpointing_enable()
    packed = pack_sequences(sequences)
    wrapper = PackedModel(model)
    with packed_attention(model):
        with packed_inputs(model, packed) as inputs:
            together = model(**inputs).logits[0]
        losses = {"nll": wrapper(packed), "log_probs": -wrapper(packed, want="log_probs").sum()}
        for want, loss in losses.items():
            loss.backward()
            assert loss.item() == pytest.approx(expected.item(), rel=1e-5), want
            for name, gradient in gradients(model).items():
                torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, logits, rtol=0, atol=1e-5)


def test_gradients_do_not_depend_on_the_batch_layout(tiny):
    model = tiny()
    sequences = random_sequences(2)
    wrapper = PackedModel(model)
    with packed_attention(model):
        wrapper(pack_sequences(sequences)).backward()
        whole = gradients(model)
        for sequence in reversed(sequences):
            wrapper(pack_sequences([sequence])).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_isolation_is_checked(tiny, architecture):
    check_isolation(tiny(architecture))


def test_an_architecture_whose_sequences_see_each_other_is_refused(tiny):
    model = tiny()
    norm = model.model.norm.forward
    model.model.norm.forward = lambda hidden: norm(hidden).cumsum(dim=1)
    with pytest.raises(ModelError, match="set 'packing: false'"):
        check_isolation(model)


def test_generation_is_untouched_after_packed_passes(tiny):
    model = tiny().eval()
    ids = torch.arange(9)[None]
    before = model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
    wrapper = PackedModel(model)
    with packed_attention(model):
        wrapper(pack_sequences(random_sequences(3)))
    assert torch.equal(before, model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0))


@pytest.mark.parametrize("rows", [1, 1500])
def test_fused_head_equals_plain_cross_entropy(rows):
    torch.manual_seed(0)
    hidden = torch.randn(rows, 16, dtype=torch.float32, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    targets = torch.randint(50, (rows,))
    plain = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    plain.backward()
    expected = (hidden.grad.clone(), weight.grad.clone())
    for function in (lambda *args: linear_nll(*args)[0], lambda *args: -linear_log_probs(*args).sum()):
        hidden.grad = weight.grad = None
        loss = function(hidden, weight, targets)
        (3 * loss).backward()
        torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(hidden.grad, 3 * expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weight.grad, 3 * expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
@pytest.mark.parametrize("trained", ["hidden", "weight", "both"])
def test_fused_log_probabilities_take_any_gradient(trained, kept_bytes, monkeypatch):
    """Each token's own factor comes from the loss, after the forward pass is over."""
    monkeypatch.setattr("xinglin.models.packed.KEPT_BYTES", kept_bytes)
    torch.manual_seed(0)
    hidden = torch.randn(1500, 16, requires_grad=trained != "weight")
    weight = torch.randn(50, 16, requires_grad=trained != "hidden")
    targets, factors = torch.randint(50, (1500,)), torch.randn(1500)
    plain = (hidden @ weight.T).log_softmax(-1)[torch.arange(1500), targets]
    ours = linear_log_probs(hidden, weight, targets)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(linear_log_probs_and_entropy(hidden, weight, targets)[0], plain)
    wanted = [tensor for tensor in (hidden, weight) if tensor.requires_grad]
    expected = torch.autograd.grad((plain * factors).sum(), wanted)
    for found, gradient in zip(torch.autograd.grad((ours * factors).sum(), wanted), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-4)


def test_an_evaluation_makes_no_gradient_of_a_trained_head(monkeypatch):
    hidden, weight, targets = torch.randn(9, 16), torch.randn(50, 16, requires_grad=True), torch.arange(9)
    expected = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    monkeypatch.setattr("xinglin.models.packed._slope", lambda *unused: pytest.fail("it made one"))
    with torch.no_grad():
        torch.testing.assert_close(linear_nll(hidden, weight, targets)[0], expected)
        torch.testing.assert_close(linear_log_probs(hidden, weight, targets).sum(), -expected)


def test_a_head_that_is_no_plain_matrix_takes_the_models_own_way(tiny):
    model = tiny()
    sequences = random_sequences(4)
    expected, _ = reference(model, sequences)
    head = model.lm_head
    model.lm_head = torch.nn.Sequential(head)
    model.get_output_embeddings = lambda: model.lm_head
    wrapper = PackedModel(model)
    assert not wrapper.plain_head
    with packed_attention(model):
        assert wrapper(pack_sequences(sequences)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_sequence_sums():
    packed = pack_sequences(random_sequences(5))
    values = torch.arange(len(packed.targets), dtype=torch.float32)
    sums = sequence_sums(values, packed)
    assert sums.tolist() == [values[packed.owners == i].sum().item() for i in range(4)]


@pytest.mark.parametrize("architecture", FOREIGN)
def test_without_packing_any_architecture_keeps_its_own_attention(architecture):
    """Gemma 2 caps its attention logits and MPT makes its own mask: neither may lose that."""
    model = foreign(architecture)
    with pytest.raises(ModelError, match=f"'{architecture}'.*set 'packing: false'"):
        check_isolation(model)
    sequences = random_sequences(6)
    expected, _ = reference(model, sequences)
    expected.backward()
    slopes = gradients(model)
    wrapper = PackedModel(model)
    packed = pack_sequences(sequences)
    loss = wrapper(packed)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, slopes[name], rtol=1e-3, atol=1e-5)
    apart = [wrapper(pack_sequences([sequence]), want="log_probs") for sequence in sequences]
    torch.testing.assert_close(wrapper(packed, want="log_probs"), torch.cat(apart))
