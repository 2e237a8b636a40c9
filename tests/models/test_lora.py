"""Every kind of adapter starts as a no-op, learns, and is exact on its base once saved."""

import json

import pytest
import torch
from peft.tuners.lora import LoraLayer

from xinglin.config.parts import Lora, Optimizer
from xinglin.errors import ModelError
from xinglin.models.adapter import write_base
from xinglin.models.load import load_model
from xinglin.models.lora import add_lora, cast_down, continue_lora, save_lora
from xinglin.models.merge import merge_stack
from xinglin.train.optim import build_optimizer

KINDS = {
    "default": {},
    "named": {"targets": ["q_proj", "down_proj"], "dropout": 0.1},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 3.0}},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "gaussian": {"init": "gaussian"},
    "pissa": {"init": "pissa"},
    "pissa_patterns": {
        "init": "pissa",
        "rslora": True,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"down_proj": 3.0},
    },
    "olora": {"init": "olora"},
    "all_embeddings": {"train_embeddings": "all"},
    "new_embeddings": {"train_embeddings": "new"},
    "new_embeddings_pissa": {"train_embeddings": "new", "init": "pissa"},
}
NEW = [390, 391, 397]


@pytest.fixture
def base(tiny, tokenizer, tmp_path):
    """``base("llama", tied=False)`` saves a model and returns its folder."""

    def save(architecture="qwen3", *, tied=True):
        folder = tmp_path / f"{architecture}-{tied}"
        model = tiny(architecture, seed=3)
        if not tied:
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().flip(0).clone())
            model.config.tie_word_embeddings = False
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def ids():
    ids = torch.randint(300, (2, 20), generator=torch.Generator().manual_seed(0))
    ids[0, :3] = torch.tensor(NEW)
    return ids


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids, use_cache=False).logits


def train(wrapped, ids, steps=8):
    """A few steps; the losses."""
    optimizer = build_optimizer(wrapped, Optimizer(learning_rate=5e-3))
    losses = []
    wrapped.train()
    for _ in range(steps):
        loss = wrapped(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def fresh(folder, kind, *, seed=0):
    return add_lora(load_model(str(folder)).model, Lora(rank=4, **KINDS[kind]), seed=seed, new_tokens=NEW)


def save(wrapped, folder, base, tokenizer):
    save_lora(wrapped, folder, base=str(base))
    tokenizer.save_pretrained(folder)
    write_base(folder, str(base), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_a_no_op_learns_and_is_saved_exactly(base, tokenizer, tmp_path, ids, kind):
    folder = base()
    before = logits(load_model(str(folder)).model, ids)
    wrapped = fresh(folder, kind)
    torch.testing.assert_close(logits(wrapped, ids), before, rtol=0, atol=2e-5)
    losses = train(wrapped, ids)
    assert losses[-1] < losses[0] - 0.05
    expected = logits(wrapped, ids)
    save(wrapped, tmp_path / "adapter", folder, tokenizer)
    loaded = load_model(str(tmp_path / "adapter")).model
    torch.testing.assert_close(logits(loaded, ids), expected, rtol=0, atol=5e-5)
    assert (expected - before).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["dora", "all_embeddings", "new_embeddings", "pissa"])
def test_stacks_of_every_kind_are_merged(base, tokenizer, tmp_path, ids, kind):
    below = base()
    for number, name in enumerate(["first", "second"]):
        wrapped = fresh(below, kind, seed=number)
        train(wrapped, ids, steps=4)
        save(wrapped, tmp_path / name, below, tokenizer)
        below = tmp_path / name
    check = merge_stack(str(below), tmp_path / "merged", dtype=torch.float32)
    assert check.max_logit_difference < 1e-3 < check.adapter_effect
    merged = load_model(str(tmp_path / "merged")).model
    torch.testing.assert_close(logits(merged, ids), logits(wrapped, ids), rtol=0, atol=1e-4)


@pytest.mark.parametrize("embeddings", ["all", "new"])
@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_are_trained_beside_the_adapter(base, tokenizer, tmp_path, ids, embeddings, tied):
    folder = base(tied=tied)
    start = load_model(str(folder)).model
    wrapped = fresh(folder, f"{embeddings}_embeddings")
    train(wrapped, ids)
    expected = logits(wrapped, ids)
    save(wrapped, tmp_path / "adapter", folder, tokenizer)
    end = load_model(str(tmp_path / "adapter")).model
    torch.testing.assert_close(logits(end, ids), expected, rtol=0, atol=5e-5)
    first, last = start.get_input_embeddings().weight, end.get_input_embeddings().weight
    changed = set((first != last).any(1).nonzero()[:, 0].tolist())
    assert changed == set(NEW) if embeddings == "new" else len(changed) > 20
    assert (end.get_output_embeddings().weight.data_ptr() == last.data_ptr()) is tied


def test_new_embeddings_need_new_tokens(tiny):
    with pytest.raises(ModelError, match="no vocabulary stage has added tokens to this model"):
        add_lora(tiny(), Lora(train_embeddings="new"), seed=0)


@pytest.mark.parametrize(("settings", "scale"), [({"rslora": True}, 8.0), ({}, 4.0)])
def test_the_update_has_the_scale_of_its_paper(tiny, settings, scale):
    wrapped = add_lora(tiny(), Lora(rank=4, alpha=16.0, **settings), seed=0)
    layers = [module for module in wrapped.modules() if isinstance(module, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {scale}


def test_pissa_trains_the_main_directions_and_saves_a_plain_adapter(base, tokenizer, tmp_path, ids):
    folder = base()
    weight = load_model(str(folder)).model.model.layers[0].self_attn.q_proj.weight.detach()
    wrapped = fresh(folder, "pissa")
    layer = wrapped.base_model.model.model.layers[0].self_attn.q_proj
    product = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    best = torch.linalg.svdvals(weight)[:4].norm()  # of any matrix of this rank (Eckart-Young)
    assert 0.97 * best < product.norm() < 1.001 * best
    torch.testing.assert_close(layer.base_layer.weight + product, weight, rtol=0, atol=1e-6)
    save(wrapped, tmp_path / "adapter", folder, tokenizer)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["init_lora_weights"]) == (8, True)


def test_dora_and_pissa_exclude_each_other():
    with pytest.raises(ValueError, match="dora with init pissa cannot be saved exactly"):
        Lora(dora=True, init="pissa")


def test_other_adapters_of_the_trunk_are_not_saved_with_it(base, tokenizer, tmp_path):
    folder = base()
    wrapped = fresh(folder, "default")
    wrapped.add_adapter("value", wrapped.peft_config["default"])
    save(wrapped, tmp_path / "adapter", folder, tokenizer)
    assert not [path for path in (tmp_path / "adapter").iterdir() if path.is_dir()]


@pytest.mark.parametrize("kind", ["default", "dora", "named"])
def test_casting_adapters_down_changes_nothing_under_autocast(base, ids, kind):
    found = []
    for down in (False, True):
        wrapped = fresh(base(), kind)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
        if down:
            cast_down(wrapped)
        assert {p.dtype for p in wrapped.parameters() if p.requires_grad} == {torch.float32}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = wrapped.eval()(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in wrapped.parameters() if p.requires_grad)])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("embeddings", ["all", "new"])
def test_embeddings_are_trained_on_too(base, tokenizer, tmp_path, ids, embeddings):
    folder, kind = base(), f"{embeddings}_embeddings"
    wrapped = fresh(folder, kind)
    train(wrapped, ids)
    save(wrapped, tmp_path / "first", folder, tokenizer)
    again = continue_lora(load_model(str(folder)).model, Lora(rank=4, **KINDS[kind]), tmp_path / "first")
    torch.testing.assert_close(logits(again, ids), logits(wrapped, ids), rtol=0, atol=1e-5)
    second = train(again, ids)
    assert second[-1] < second[0]
    with pytest.raises(ModelError, match=f"lora.train_embeddings {embeddings} instead of none"):
        continue_lora(load_model(str(folder)).model, Lora(rank=4), tmp_path / "first")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"targets": ["q_proj", "v_prj"]},
            "lora.targets: no linear layer is called 'v_prj'; this model has down",
        ),
        ({"rank_pattern": {"q_pro": 2}}, "lora.rank_pattern: no linear layer is called 'q_pro'"),
    ],
)
def test_a_misspelt_layer_is_refused_though_others_are_right(tiny, settings, message):
    with pytest.raises(ModelError, match=message):
        add_lora(tiny(), Lora(**settings), seed=0)


def test_an_adapter_is_trained_on_where_it_was_left(base, tokenizer, tmp_path, ids):
    folder = base()
    wrapped = fresh(folder, "patterns")
    train(wrapped, ids)
    save(wrapped, tmp_path / "first", folder, tokenizer)
    again = continue_lora(
        load_model(str(folder)).model, Lora(rank=4, **KINDS["patterns"]), tmp_path / "first"
    )
    torch.testing.assert_close(logits(again, ids), logits(wrapped, ids), rtol=0, atol=1e-5)
    assert {p.requires_grad for name, p in again.named_parameters() if "lora" in name} == {True}
    first, second = train(wrapped, ids), train(again, ids)
    assert second[0] == pytest.approx(first[0], rel=1e-4) and second[-1] < second[0]
    save(again, tmp_path / "second", folder, tokenizer)
    loaded = load_model(str(tmp_path / "second")).model
    torch.testing.assert_close(logits(loaded, ids), logits(again, ids), rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 8}, "needs the shape of the adapter: set lora.rank 4 instead of 8, or continue: new"),
        ({"dora": True}, "lora.dora False instead of True"),
        ({"targets": ["q_proj"]}, r"lora.targets \[.*down_proj'.*\] instead of \['q_proj'\]"),
        ({"train_embeddings": "all"}, "lora.train_embeddings none instead of all"),
        ({"targets": "all-linear"}, None),
        ({"targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}, None),
    ],
)
def test_another_shape_is_refused(base, tokenizer, tmp_path, settings, message):
    folder = base()
    save(fresh(folder, "default"), tmp_path / "first", folder, tokenizer)
    model = load_model(str(folder)).model
    if message is None:
        continue_lora(model, Lora(rank=4, **settings), tmp_path / "first")
        return
    with pytest.raises(ModelError, match=message):
        continue_lora(model, Lora(**({"rank": 4} | settings)), tmp_path / "first")
