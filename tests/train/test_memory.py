"""The forecast counts the parameters that are there, and says which term is largest."""

import json

import pytest

from xinglin.config.parts import Lora
from xinglin.config.tiny import ARCHITECTURES
from xinglin.models.adapt import add_lora, count_parameters
from xinglin.train.forecast import _Attributes
from xinglin.train.memory import Shape, forecast


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_counted_from_the_config(tiny, architecture):
    """All but norms and biases."""
    model = tiny(architecture, shape="128x3")
    actual, _ = count_parameters(model)
    assert Shape.of(model.config).parameters == pytest.approx(actual, rel=0.015)


def test_lora_parameters(tiny):
    model = tiny("llama")
    shape = Shape.of(model.config)
    _, trainable = count_parameters(add_lora(model, Lora(rank=4), seed=0))
    assert shape.lora_parameters(4) == trainable


def test_what_saves_memory_lowers_the_forecast(tiny):
    shape = Shape.of(tiny().config)
    full = forecast(shape, tokens=4096, tuning="full")
    assert forecast(shape, tokens=4096, tuning="lora").training_state < full.training_state
    assert forecast(shape, tokens=4096, tuning="full", checkpointing=True).activations < full.activations
    assert forecast(shape, tokens=1024, tuning="full").activations == full.activations // 4
    assert full.total == full.weights + full.training_state + full.activations + full.logits
    assert "most of it activations" in str(full)


def test_a_published_peak_is_met():
    """Qwen3-8B, LoRA rank 16, 8k tokens a step, checkpointing: 19.7 GiB were measured with fused kernels."""
    shape = Shape(4096, 36, 12288, 151936, 4096, 1024, tied=False)
    found = forecast(
        shape,
        tokens=8192,
        tuning="lora",
        lora_rank=16,
        weight_bytes=2,
        activation_bytes=2,
        checkpointing=True,
    )
    assert found.total / 2**30 == pytest.approx(19.7, rel=0.15)


def test_a_config_file_may_use_older_names(tiny, tmp_path):
    model = tiny("bloom")
    model.save_pretrained(tmp_path)
    row = json.loads((tmp_path / "config.json").read_text())
    assert Shape.of(_Attributes(row)) == Shape.of(model.config)
