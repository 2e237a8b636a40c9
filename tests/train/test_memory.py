"""The forecast counts the parameters that are there, meets published peaks, and names what would make a stage fit."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, MambaConfig

from xinglin.config.parts import Lora
from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.packing import pack_sequences
from xinglin.errors import ModelError
from xinglin.models.adapt import count_parameters
from xinglin.models.adapter import write_base
from xinglin.models.attention import packed_attention
from xinglin.models.lora import add_lora
from xinglin.models.packed import PackedModel
from xinglin.stages.ppo import Config as PpoConfig
from xinglin.stages.sft import Config
from xinglin.train import forecast as forecasting
from xinglin.train.duration import forecast_seconds, matmul_flops_per_second
from xinglin.train.forecast import _saved_shape, outlook
from xinglin.train.memory import (
    KNOBS,
    STATE_BYTES,
    Shape,
    Work,
    flops,
    forecast,
    layer_bytes,
    trained_parameters,
)

QWEN3_8B = Shape(4096, 36, 12288, 151936, 4096, 1024, tied=False, head_norms=True)
LLAMA_8B = Shape(4096, 32, 14336, 128256, 4096, 1024, tied=False)
FACTS = {"tokens": 1_000_000, "trained_tokens": 500_000, "records": 4000, "lengths": {"p90": 500, "max": 900}}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_counted_from_the_config(tiny, architecture):
    """All but norms and biases."""
    model = tiny(architecture, shape="128x3")
    actual, _ = count_parameters(model)
    assert Shape.of(model.config).parameters == pytest.approx(actual, rel=0.015)


MIXTURES = {
    "qwen3_moe": {"num_experts": 8, "moe_intermediate_size": 32, "mlp_only_layers": [0]},
    "mixtral": {"num_local_experts": 4},
    "deepseek_v3": {"n_routed_experts": 8, "n_shared_experts": 1, "moe_intermediate_size": 32, "n_group": 2}
    | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16},
}
SIZES = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_experts_per_tok": 2}


@pytest.mark.filterwarnings(
    "ignore:The following rank_pattern keys:RuntimeWarning"
)  # PEFT's own, about experts
@pytest.mark.parametrize("architecture", MIXTURES)
def test_experts_are_counted_and_those_of_a_token_apart(architecture):
    config = AutoConfig.for_model(architecture, **SIZES, **MIXTURES[architecture])
    model, shape = AutoModelForCausalLM.from_config(config), Shape.of(config)
    actual, _ = count_parameters(model)
    assert shape.parameters == pytest.approx(actual, rel=0.015)
    routed = sum(each.numel() for name, each in model.named_parameters() if ".experts." in name)
    number = MIXTURES[architecture].get("num_local_experts", 8)
    idle = shape.layers * (shape.layer_parameters - shape.active_parameters)
    assert routed and idle == pytest.approx(routed * (1 - 2 / number), abs=shape.layers)
    _, trainable = count_parameters(add_lora(model, Lora(rank=4), seed=0))
    assert shape.lora_parameters(4) == trainable
    less = replace(shape, experts=shape.experts._replace(active=shape.layer_parameters))
    at = {"mean_length": 100.0, "trained_share": 0.5}
    assert flops(shape, Work(99), **at) < flops(less, Work(99), **at)
    quantized = forecast(shape, Work(99, quantization="4bit")).terms["weights"]
    assert quantized > (routed + shape.embedding_parameters) * 2


def test_lora_parameters(tiny):
    model = tiny("llama")
    shape = Shape.of(model.config)
    _, trainable = count_parameters(add_lora(model, Lora(rank=4), seed=0))
    assert shape.lora_parameters(4) == trainable


def test_what_saves_memory_lowers_the_forecast(tiny):
    shape = Shape.of(tiny().config)
    work = Work(tokens=4096, tuning="full")
    full = forecast(shape, work)
    less = {
        "gradients and optimizer": [{"tuning": "lora"}, {"optimizer": "adamw_8bit"}, {"processes": 4}],
        "activations": [{"checkpointing": True}, {"tokens": 1024}, {"activation_bytes": 2}],
        "logits": [{"logits": False}],
    }
    for term, changes in less.items():
        for change in changes:
            assert forecast(shape, replace(work, **change)).terms[term] < full.terms[term], change
    half = replace(work, activation_bytes=2)
    assert layer_bytes(shape, replace(half, fused=True)) < layer_bytes(shape, half)
    assert full.total == sum(full.terms.values())
    assert KNOBS.keys() == full.terms.keys()


@pytest.mark.parametrize(
    "shape, work, published, tolerance",
    [
        (QWEN3_8B, Work(8192, lora_rank=16, checkpointing=True, fused=True), 19.7, 0.1),
        (QWEN3_8B, Work(2048, lora_rank=16, checkpointing=True, fused=True), 16.7, 0.1),
        (LLAMA_8B, Work(4096, checkpointing=True, fused=True), 17.0, 0.1),
        (LLAMA_8B, Work(4096, checkpointing=True, fused=True, quantization="4bit"), 7.4, 0.2),
    ],
)
def test_published_peaks_are_met(shape, work, published, tolerance):
    """GiB that others measured on GPUs under bf16 with a fused head."""
    found = forecast(shape, replace(work, weight_bytes=2, activation_bytes=2))
    assert found.total / 2**30 == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "glm4"])
def test_activations_are_those_that_torch_keeps(tiny, architecture, tuning, half, monkeypatch):
    """Counted over everything with a token dimension that is saved for the backward pass of one more layer."""
    # On a CPU attention is in float32 whatever comes in; the forecast is of what GPUs keep.
    monkeypatch.setattr(torch, "promote_types", lambda own, other: torch.bfloat16 if half else own)
    kept = {layers: _kept_bytes(tiny(architecture, shape=f"128x{layers}"), tuning, half) for layers in (2, 3)}
    model = tiny(architecture, shape="128x2")
    work = Work(TOKENS, tuning=tuning, activation_bytes=2 if half else 4)
    expected = layer_bytes(Shape.of(model.config), work) * TOKENS
    assert kept[3] - kept[2] == pytest.approx(expected, rel=0.03)


TOKENS = 174  # the length of no weight's side


def _kept_bytes(model, tuning, half):
    if tuning == "lora":
        model = add_lora(model.bfloat16() if half else model, Lora(), seed=0)
    wrapped = PackedModel(model).train()
    packed = pack_sequences([(np.arange(TOKENS), np.ones(TOKENS, bool))])
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if TOKENS in tensor.shape:
            found[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no address is used twice
        return tensor

    with (
        packed_attention(wrapped.core),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        wrapped(packed)
    return sum(size for size, _ in found.values())


def test_flops_follow_the_usual_accounting():
    """An 8B model at 2,048 tokens: 32.6 GFLOP per token with LoRA, 47.5 in full, one forward pass more when
    activations are made again."""
    lora = flops(QWEN3_8B, Work(4096), mean_length=1024, trained_share=1.0)
    assert lora == pytest.approx(32.6e9, rel=0.03)
    full = flops(QWEN3_8B, Work(4096, tuning="full"), mean_length=1024, trained_share=1.0)
    assert full == pytest.approx(47.5e9, rel=0.05)
    again = flops(QWEN3_8B, Work(4096, checkpointing=True), mean_length=1024, trained_share=1.0)
    assert again == pytest.approx(47.2e9, rel=0.05)


def test_time_is_arithmetic_over_speed():
    speed = matmul_flops_per_second(torch.float32)
    assert speed > 1e8
    assert forecast_seconds(speed, torch.float32) == pytest.approx(1 / 0.55)


def test_a_config_file_may_use_older_names(tiny, tmp_path):
    sizes = {"vocab_size": 300, "n_embd": 64, "n_layer": 2, "n_head": 4}
    for config in (tiny("bloom").config, GPT2Config(**sizes)):
        config.save_pretrained(tmp_path)
        saved = _saved_shape(str(tmp_path), Config(kind="sft"))
        assert saved == Shape.of(config) and (saved.hidden, saved.layers) == (64, 2)


def test_what_is_no_decoder_is_refused(tmp_path):
    MambaConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is of no decoder that can be trained here .*num_attention_heads"):
        _saved_shape(str(tmp_path), Config(kind="sft"))


def test_trained_embeddings_are_counted(tiny):
    model = tiny("llama")
    shape = Shape.of(model.config)
    _, trainable = count_parameters(add_lora(model, Lora(rank=4, train_embeddings="all"), seed=0))
    assert trained_parameters(shape, Work(9, lora_rank=4, embeddings=True)) == trainable


def test_reinforcement_learning_has_more_in_memory(monkeypatch):
    monkeypatch.setattr(forecasting, "available_bytes", lambda: 1 << 40)
    settings = {
        "rewards": [{"name": "length"}],
        "max_tokens": 512,
        "max_new_tokens": 256,
        "rollout_prompts": 8,
    }

    def terms(**more):
        return outlook(PpoConfig(kind="ppo", **settings, **more), QWEN3_8B, FACTS).memory.terms

    alone, value, whole = terms(), terms(value="adapter"), terms(tuning="full")
    assert alone["generation"] == 8 * 512 * 2 * QWEN3_8B.key_value_width * QWEN3_8B.layers * 4
    assert value["gradients and optimizer"] == 2 * alone["gradients and optimizer"]
    assert whole["weights"] == 2 * QWEN3_8B.parameters * 4


@pytest.mark.parametrize(
    ("tuning", "beside"), [("adapter on the same base", 0), ("adapter on another", 1), ("full model", 1)]
)
def test_a_reward_model_counts_unless_it_shares_the_base(tiny, tmp_path, monkeypatch, tuning, beside):
    monkeypatch.setattr(forecasting, "available_bytes", lambda: 1 << 40)
    for name in ("base", "other"):
        tiny(shape="128x3" if name == "other" else "64x2").save_pretrained(tmp_path / name)
    judge = tmp_path / "judge"
    if tuning == "full model":
        shutil.copytree(tmp_path / "other", judge)
    else:
        judge.mkdir()
        (judge / "adapter_config.json").write_text("{}")
        write_base(judge, str(tmp_path / ("base" if "same" in tuning else "other")), seed=0)
    inputs = {"base": str(tmp_path / "base"), "stage:reward": str(judge)}
    settings = {"max_tokens": 512, "rewards": [{"name": "model", "model": "stage:reward"}]}
    run = SimpleNamespace(inputs=inputs, base=inputs["base"])

    def weights(**more):
        config = PpoConfig(kind="ppo", model="base", **settings, **more)
        shape = forecasting.shape_of(config, run)
        judges = forecasting.judges_of(config, run, shape)
        return shape, outlook(config, shape, FACTS, judges=judges).memory.terms["weights"]

    shape, found = weights()
    other = Shape.of(tiny(shape="128x3").config).parameters
    alone = forecast(shape, Work(4096, generated_tokens=9)).terms["weights"]
    assert found - alone == beside * other * 4
    _, trained_whole = weights(tuning="full")  # whose base is no longer that of an adapter
    assert trained_whole == 2 * shape.parameters * 4 + (other if beside else shape.parameters) * 4


def _with_room(monkeypatch, gib, **settings):
    monkeypatch.setattr(forecasting, "available_bytes", lambda: int(gib * 2**30))
    return outlook(Config(kind="sft", **settings), QWEN3_8B, FACTS)


def test_checkpointing_turns_itself_on_when_it_has_to(monkeypatch):
    assert not _with_room(monkeypatch, 200).work.checkpointing
    tight = _with_room(monkeypatch, 60)
    assert tight.work.checkpointing and tight.cure is None


@pytest.mark.parametrize(
    "gib, settings, cure",
    [
        (40, {"gradient_checkpointing": "off"}, "set gradient_checkpointing: on"),
        (60, {"tuning": "full"}, "set tuning: lora"),
        (10, {}, "even with micro_batch_tokens: 900 it takes"),
    ],
)
def test_what_does_not_fit_is_told_the_cheapest_change(monkeypatch, gib, settings, cure):
    found = _with_room(monkeypatch, gib, **settings)
    assert found.cure is not None and found.cure.startswith(cure), found.cure
    assert "more than the" in str(found)


def test_every_optimizer_has_a_size():
    from typing import get_args

    from xinglin.config.parts import Optimizer

    assert set(STATE_BYTES) == set(get_args(Optimizer.model_fields["name"].annotation))
