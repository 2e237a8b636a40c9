"""Which layers are trained; expanded models equal their base; quantised ones say what they need."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from xinglin.config.parts import Freeze, Optimizer
from xinglin.errors import ModelError
from xinglin.models.adapt import count_parameters, train_all, train_some_layers
from xinglin.models.load import load_model
from xinglin.models.quantized import require_bitsandbytes
from xinglin.train.optim import build_optimizer

IDS = torch.randint(300, (2, 20), generator=torch.Generator().manual_seed(0))


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def train(model, steps=10):
    optimizer = build_optimizer(model, Optimizer(learning_rate=1e-2))
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("architecture", ["qwen3", "bloom"])
@pytest.mark.parametrize("which", ["last", "first"])
def test_one_end_of_the_model_is_trained_and_the_rest_stays(tiny, architecture, which):
    model = tiny(architecture, shape="64x3")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = trained(train_some_layers(model, Freeze(trainable_layers=1, which=which)))
    layers = {name.split(".")[2] for name in names if ".layers." in name or ".h." in name}
    assert layers == {"2" if which == "last" else "0"}
    assert any("embed" in name for name in names)  # the head is tied to it
    norm = {"qwen3": "model.norm.weight", "bloom": "transformer.ln_f.weight"}[architecture]
    assert (norm in names) is (which == "last")
    losses = train(model)
    assert losses[-1] < losses[0] - 0.1
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) is (name not in names), name


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "glm4"])
@pytest.mark.parametrize("count", [1, 2])
def test_an_expanded_model_is_its_base_until_its_new_layers_are_trained(
    tiny, tokenizer, tmp_path, architecture, count
):
    model = tiny(architecture, shape="64x4")
    before = logits(model)
    _, size = count_parameters(train_all(tiny(architecture, shape="64x1").model.layers[0]))
    train_some_layers(model, Freeze(trainable_layers=count, which="new"))
    assert torch.equal(logits(model), before)
    assert model.config.num_hidden_layers == len(model.model.layers) == 4 + count
    assert count_parameters(model)[1] == count * size
    places = {int(name.split(".")[2]) for name in trained(model)}
    assert places == {1: {4}, 2: {2, 5}}[count]
    cached = model.eval().generate(IDS[:1], max_new_tokens=5, do_sample=False, pad_token_id=0)
    plain = model.generate(IDS[:1], max_new_tokens=5, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(cached, plain)
    losses = train(model)
    assert losses[-1] < losses[0] - 0.1
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(load_model(str(tmp_path)).model), logits(model))


def test_what_cannot_be_expanded_is_refused(tiny):
    with pytest.raises(
        ModelError, match=r"architecture 'bloom' cannot be expanded .*use which: last or first"
    ):
        train_some_layers(tiny("bloom"), Freeze(trainable_layers=1, which="new"))
    config = AutoConfig.for_model(
        "gemma2", vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    before = logits(model)
    train_some_layers(
        model, Freeze(trainable_layers=1, which="new")
    )  # norms after the projections keep 0 at 0
    assert torch.equal(logits(model), before)
    model.model.layers[-1].post_attention_layernorm.register_forward_hook(lambda module, args, out: out + 1)
    with pytest.raises(ModelError, match="new layers change what the model computes"):
        train_some_layers(model, Freeze(trainable_layers=1, which="new"))


@pytest.mark.parametrize("which", ["last", "first", "new"])
def test_more_layers_than_there_are(tiny, which):
    with pytest.raises(ModelError, match=r"freeze.trainable_layers 3: the model has 2 layers"):
        train_some_layers(tiny(), Freeze(trainable_layers=3, which=which))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bitsandbytes_without_gpu():
    with pytest.raises(ModelError, match="quantization 4bit needs a CUDA GPU, and there is none"):
        require_bitsandbytes("quantization 4bit")
