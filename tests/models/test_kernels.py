"""Fused and compiled layers compute what the plain ones do."""

import pytest
import torch

from xinglin.data.packing import pack_sequences
from xinglin.models.attention import packed_attention
from xinglin.models.kernels import compile_layers, decoder_layers, fuse, fusible
from xinglin.models.packed import PackedModel


def _batch(lengths):
    generator = torch.Generator().manual_seed(3)
    ids = [torch.randint(300, (length,), generator=generator).numpy() for length in lengths]
    return pack_sequences([(one, one > -1) for one in ids])


def _loss_and_gradients(model, packed):
    wrapped = PackedModel(model)
    with packed_attention(model):
        loss = wrapped(packed)
        loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.item(), gradients


def test_without_a_gpu_nothing_is_replaced(tiny):
    if fusible():
        pytest.skip("Liger runs here")
    assert not fuse(tiny())


def test_layers_are_found_in_every_architecture(tiny):
    for architecture in ("qwen3", "llama", "glm4", "bloom"):
        assert len(decoder_layers(tiny(architecture))) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about itself
def test_compiled_layers_give_the_same_numbers_for_any_length(tiny):
    model = tiny("qwen3")
    batches = [_batch((9, 14)), _batch((30, 2, 17))]
    plain = [_loss_and_gradients(model, packed) for packed in batches]
    compile_layers(model)
    for packed, (loss, gradients) in zip(batches, plain, strict=True):
        compiled_loss, compiled = _loss_and_gradients(model, packed)
        assert compiled_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(compiled[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not fusible(), reason="needs a CUDA GPU and liger-kernel")
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "glm4"])
def test_fused_layers_give_the_same_numbers(tiny, architecture):
    plain_model = tiny(architecture).cuda()
    packed = _batch((30, 2, 17)).to("cuda")
    loss, gradients = _loss_and_gradients(plain_model, packed)
    fused_model = tiny(architecture).cuda()
    assert fuse(fused_model)
    fused_loss, fused = _loss_and_gradients(fused_model, packed)
    assert fused_loss == pytest.approx(loss, rel=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused[name], gradient, rtol=1e-3, atol=1e-4)
