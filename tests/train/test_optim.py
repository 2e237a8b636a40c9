"""Which weights get which share of the learning rate, and updates that bad numbers never reach."""

import pytest
import torch
from peft import LoraConfig as PeftLora
from peft import get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from xinglin.config.parts import Freeze, Lora, Optimizer
from xinglin.errors import Interrupted, ModelError
from xinglin.models.adapt import train_some_layers
from xinglin.models.lora import add_lora
from xinglin.models.packed import PackedModel
from xinglin.train.optim import build_optimizer, parameter_groups, set_rate, step_unless

ON_CPU = ["adamw", "adafactor", "muon"]


def by_name(model, config):
    """Parameter name -> its group."""
    groups = parameter_groups(model, config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("embeddings", [True, False])
def test_only_matrices_are_decayed(tiny, embeddings):
    model = PackedModel(tiny())
    for name, group in by_name(model, Optimizer(weight_decay=0.3, decay_embeddings=embeddings)).items():
        matrix = "norm" not in name and (embeddings or "embed" not in name)
        assert group["weight_decay"] == (0.3 if matrix else 0.0), name


@pytest.mark.parametrize("architecture", ["qwen3", "bloom"])
def test_layer_decay_falls_towards_the_input(tiny, architecture):
    model = PackedModel(tiny(architecture, shape="64x3"))
    scales = {name: group["scale"] for name, group in by_name(model, Optimizer(layer_decay=0.5)).items()}
    prefix = {"qwen3": "model.model.layers", "bloom": "model.transformer.h"}[architecture]
    for layer, expected in enumerate([0.125, 0.25, 0.5]):
        assert {scale for name, scale in scales.items() if name.startswith(f"{prefix}.{layer}.")} == {
            expected
        }
    embedding, norm = (
        ("embed_tokens.weight", "model.norm.weight")
        if architecture == "qwen3"
        else ("word_embeddings.weight", "ln_f.weight")
    )
    assert [scale for name, scale in scales.items() if name.endswith(embedding)] == [0.0625]
    assert [scale for name, scale in scales.items() if name.endswith(norm)] == [1.0]


def test_layer_decay_knows_embeddings_by_their_older_names():
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    models = {
        GPT2LMHeadModel(GPT2Config(**sizes)): {"wpe.weight": 0.125, "wte.weight": 0.125, "ln_f.weight": 1.0},
        GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, intermediate_size=32, tie_word_embeddings=False)): {
            "embed_in.weight": 0.125,
            "lm_head.weight": 1.0,
        },
    }
    for model, expected in models.items():
        scales = {name: group["scale"] for name, group in by_name(model, Optimizer(layer_decay=0.5)).items()}
        for end, scale in expected.items():
            assert [found for name, found in scales.items() if name.endswith(end)] == [scale]


def test_lora_plus_gives_the_rates_that_peft_gives(tiny):
    model = get_peft_model(tiny(), PeftLora(task_type="CAUSAL_LM", target_modules="all-linear"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    oracle = create_loraplus_optimizer(
        model=model, optimizer_cls=torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16
    )
    expected = {names[id(p)]: group["lr"] for group in oracle.param_groups for p in group["params"]}
    optimizer = build_optimizer(model, Optimizer(lora_plus_ratio=16))
    set_rate(optimizer, 1e-3)
    assert expected == {
        names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]
    }


def test_a_score_head_has_a_rate_of_its_own():
    config = Qwen3Config(
        vocab_size=99, hidden_size=64, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1,
        head_dim=64, intermediate_size=64, num_labels=1,
    )  # fmt: skip
    model = add_lora(Qwen3ForSequenceClassification(config), Lora(rank=2), seed=0)
    groups = by_name(model, Optimizer(head_ratio=10))
    assert {name for name, group in groups.items() if group["scale"] == 10} == {
        "base_model.model.score.modules_to_save.default.weight"
    }
    assert not any(group["hidden"] for name, group in groups.items() if "score" in name)


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("bad", [False, True])
def test_a_bad_step_is_not_taken(tiny, name, bad):
    model = tiny()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = build_optimizer(model, Optimizer(name=name, learning_rate=1e-2))
    model(input_ids=torch.arange(9)[None], labels=torch.arange(9)[None]).loss.backward()
    if bad:
        model.model.norm.weight.grad[0] = torch.nan
    step_unless(torch.tensor(bad), optimizer=optimizer, step=optimizer.step)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]) is bad, key


@pytest.mark.parametrize("name", ON_CPU)
def test_each_optimizer_learns_and_resumes_bit_by_bit(fit, tiny, name):
    settings = {"name": name, "weight_decay": 0.01, "layer_decay": 0.9}
    straight, state, _ = fit("straight", optimizer=settings)
    assert state.last_loss < 0.9 * state.first_loss
    with pytest.raises(Interrupted):
        fit("broken", stop_after=5, optimizer=settings)
    resumed, _, _ = fit("broken", model=tiny(seed=99), optimizer=settings)
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[key]), key


def test_muon_takes_hidden_matrices_and_adamw_the_rest(tiny):
    model = tiny()
    optimizer = build_optimizer(model, Optimizer(name="muon"))
    muon, adamw = optimizer.parts
    assert {tensor.ndim for group in muon.param_groups for tensor in group["params"]} == {2}
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    rest = {names[id(tensor)] for group in adamw.param_groups for tensor in group["params"]}
    assert rest == {name for name, _ in model.named_parameters() if "norm" in name or "embed" in name}


def test_muon_alone_and_with_nothing_for_it(tiny):
    build_optimizer(add_lora(tiny(), Lora(rank=2), seed=0), Optimizer(name="muon"))
    only_vectors = tiny().requires_grad_(False)
    only_vectors.model.norm.weight.requires_grad_(True)
    assert len(build_optimizer(only_vectors, Optimizer(name="muon")).parts) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_eight_bits_need_a_gpu(tiny):
    model = train_some_layers(tiny(), Freeze(trainable_layers=1))
    with pytest.raises(ModelError, match=r"adamw_8bit needs a CUDA GPU, and there is none"):
        build_optimizer(model, Optimizer(name="adamw_8bit"))
