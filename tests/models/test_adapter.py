"""Adapters know their base, stack in order, and merge into the same function."""

import json
import shutil

import pytest
import torch

from xinglin.config.parts import Freeze, Lora
from xinglin.errors import ModelError
from xinglin.models.adapt import count_parameters, train_some_layers
from xinglin.models.adapter import read_base, stack, write_base
from xinglin.models.load import load_model
from xinglin.models.lora import add_lora
from xinglin.models.merge import merge_stack


@pytest.fixture
def full(tiny, tokenizer, tmp_path):
    folder = tmp_path / "full"
    tiny(seed=3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(base, folder, tokenizer, *, seed, scale=0.05, spec=None):
    """A LoRA adapter with random weights over ``base``, saved as the training stages save it."""
    model, _ = load_model(str(base))
    wrapped = add_lora(model, Lora(rank=4), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    wrapped.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_base(folder, str(spec or base), seed=0)
    return wrapped


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids, use_cache=False).logits


@pytest.fixture
def ids():
    return torch.randint(300, (2, 20), generator=torch.Generator().manual_seed(0))


def test_a_stack_loads_in_order_and_merges_exactly(full, tokenizer, tmp_path, ids):
    first, second = tmp_path / "first", tmp_path / "second"
    make_adapter(full, first, tokenizer, seed=1)
    live = make_adapter(first, second, tokenizer, seed=2)
    assert stack(str(second)) == [str(full), str(first), str(second)]
    expected = logits(live, ids)
    torch.testing.assert_close(logits(load_model(str(second)).model, ids), expected, rtol=0, atol=1e-4)
    check = merge_stack(str(second), tmp_path / "merged", dtype=torch.float32)
    assert check.max_logit_difference < 1e-4 < check.adapter_effect
    torch.testing.assert_close(
        logits(load_model(str(tmp_path / "merged")).model, ids), expected, rtol=0, atol=1e-4
    )


def test_the_whole_run_folder_may_move(full, tokenizer, tmp_path):
    make_adapter(full, tmp_path / "first", tokenizer, seed=1)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("full", "first"):
        shutil.move(tmp_path / name, moved / name)
    assert stack(str(moved / "first")) == [str(moved / "full"), str(moved / "first")]
    load_model(str(moved / "first"))


def test_a_colon_in_a_path_is_part_of_it(full, tokenizer, tmp_path):
    base = full.rename(tmp_path / "v1:final")
    make_adapter(base, tmp_path / "first", tokenizer, seed=1)
    assert stack(str(tmp_path / "first")) == [str(base), str(tmp_path / "first")]


def test_an_adapter_on_other_weights_is_refused(full, tokenizer, tmp_path, tiny):
    make_adapter(full, tmp_path / "first", tokenizer, seed=1)
    tiny(seed=4).save_pretrained(full)
    with pytest.raises(ModelError, match="was trained on other weights than those now in"):
        read_base(tmp_path / "first")


@pytest.mark.parametrize("other", ["bloom", "qwen3:64x2"])
def test_an_adapter_for_another_model_is_refused(full, tokenizer, tmp_path, tiny, other):
    make_adapter(full, tmp_path / "first", tokenizer, seed=1)
    (tmp_path / "first" / "base.json").unlink()
    architecture, _, shape = other.partition(":")
    model = tiny(architecture, shape="128x2") if shape else tiny(architecture)
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    path = tmp_path / "first" / "adapter_config.json"
    settings = json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "other")}
    path.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=f"does not fit its base, a {architecture} model") as caught:
        load_model(str(tmp_path / "first"))
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_an_adapter_that_changes_nothing_is_refused(full, tokenizer, tmp_path):
    make_adapter(full, tmp_path / "first", tokenizer, seed=1, scale=0.0)
    with pytest.raises(ModelError, match="change nothing"):
        merge_stack(str(tmp_path / "first"), tmp_path / "merged", dtype=torch.float32)


def test_a_full_model_cannot_be_merged(full, tmp_path):
    with pytest.raises(ModelError, match="full model already"):
        merge_stack(str(full), tmp_path / "merged", dtype=torch.float32)


def test_a_fresh_adapter_is_a_no_op_and_small(tiny, ids):
    model = tiny()
    before = logits(model, ids)
    wrapped = add_lora(model, Lora(rank=2), seed=0)
    assert torch.equal(logits(wrapped, ids), before)
    total, trainable = count_parameters(wrapped)
    assert 0 < trainable < total / 4


def test_an_unknown_target_names_the_layers_that_are_there(tiny):
    with pytest.raises(ModelError, match=r"query_key_value.*q_proj"):
        add_lora(tiny(), Lora(targets=["query_key_value"]), seed=0)


def test_freeze_trains_the_end_of_the_model_only(tiny):
    model = train_some_layers(tiny(), Freeze(trainable_layers=1))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("model.layers.1.") for name in trained)
    assert not any(name.startswith("model.layers.0.") for name in trained)
    with pytest.raises(ModelError, match="the model has 2 layers"):
        train_some_layers(tiny(), Freeze(trainable_layers=3))


def test_a_model_folder_without_tokenizer_is_refused(tiny, tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="model folder without tokenizer"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("spec", ["tiny:qwen4", "tiny:qwen3:100x2", "tiny:"])
def test_a_wrong_tiny_model_says_what_is_right(spec, tokenizer):
    from xinglin.models.tiny import build_tiny

    with pytest.raises(ModelError, match=r"did you mean 'qwen3'|multiple of 64|write tiny:"):
        build_tiny(spec, tokenizer, seed=0)


def test_base_is_recorded_relative_to_the_final_place(full, tokenizer, tmp_path):
    work = tmp_path / "work" / "sft" / "out"
    work.mkdir(parents=True)
    write_base(work, str(full), seed=0, final_folder=tmp_path / "stages" / "sft")
    assert json.loads((work / "base.json").read_text())["spec"] == "../../full"


def test_weights_that_are_cut_short_are_no_bug(full):
    path = full / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"full: the model cannot be loaded .*incomplete"):
        load_model(str(full))
