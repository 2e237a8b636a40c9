"""Merging methods against their definitions in float64; whole models, streamed, sharded and read back."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_adapter import make_adapter

from xinglin.errors import ModelError
from xinglin.models import tensors
from xinglin.models.blend import Recipe, blend_tensors, slerp
from xinglin.models.embeddings import Extension, read_extension
from xinglin.models.load import load_model
from xinglin.models.merge import merge_models
from xinglin.models.tokenizer import train_tokenizer


def random_tensors(count, *, seed=0, shape=(7, 12)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def ties_reference(base, models, weights, density):
    """arXiv 2306.01708, element by element: trim, elect sign by total mass, mean of those that agree."""
    trimmed = []
    for model in models:
        vector = (model - base).reshape(-1)
        kept = sorted(range(len(vector)), key=lambda i: -abs(vector[i]))[: int(density * len(vector))]
        trimmed.append({i: vector[i] for i in kept})
    result = base.reshape(-1).copy()
    for i in range(len(result)):
        values = [(vector.get(i, 0.0), weight) for vector, weight in zip(trimmed, weights, strict=True)]
        sign = 1 if sum(value for value, _ in values) >= 0 else -1
        agreeing = [value * weight for value, weight in values if value * sign > 0]
        result[i] += sum(agreeing) / len(agreeing) if agreeing else 0.0
    return result.reshape(base.shape)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 1.5, 0.2)])
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_ties(seed, weights, density):
    base, *models = random_tensors(4, seed=seed)
    found = blend_tensors(base, models, Recipe("ties", weights, density), name="w")
    expected = ties_reference(base.double().numpy(), [m.double().numpy() for m in models], weights, density)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)


def test_linear_is_task_arithmetic_and_equal_shares_are_the_mean():
    base, *models = random_tensors(4)
    weights = (0.5, -1.0, 2.0)
    expected = base.double() + sum(
        w * (m.double() - base.double()) for w, m in zip(weights, models, strict=True)
    )
    found = blend_tensors(base, models, Recipe("linear", weights), name="w")
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    mean = blend_tensors(base, models, Recipe("linear", (1 / 3,) * 3), name="w")
    torch.testing.assert_close(mean, torch.stack(models).mean(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_drops_at_random_and_keeps_the_expectation(method):
    base = torch.zeros(200, 500)
    model = torch.ones(200, 500)
    found = blend_tensors(base, [model], Recipe(method, (1.0,), 0.25, seed=3), name="w")
    assert set(found.unique().tolist()) == {0.0, 4.0}
    assert found.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(3 / found.numel()))
    again = blend_tensors(base, [model], Recipe(method, (1.0,), 0.25, seed=3), name="w")
    others = [
        blend_tensors(base, [model], Recipe(method, (1.0,), 0.25, seed=seed), name=name)
        for seed, name in ((4, "w"), (3, "v"))
    ]
    assert torch.equal(found, again) and not any(torch.equal(found, other) for other in others)


def test_dare_linear_adds_the_weighted_survivors():
    base, *models = random_tensors(3)
    weights = (0.5, 1.5)
    recipe = Recipe("dare_linear", weights, 0.5, seed=1)
    alone = [blend_tensors(torch.zeros(7, 12), [torch.ones(7, 12)] * 2, recipe, name="w")]
    found = blend_tensors(base, models, recipe, name="w")
    survivors = {(a, b): 2 * (0.5 * a + 1.5 * b) for a in (0, 1) for b in (0, 1)}
    for (a, b), total in survivors.items():
        where = torch.isclose(alone[0], torch.tensor(float(total)))
        expected = base + 2 * (0.5 * a * (models[0] - base) + 1.5 * b * (models[1] - base))
        torch.testing.assert_close(found[where], expected[where], rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_slerp(share):
    start, end = random_tensors(2, seed=5)
    a, b = start.double().numpy().ravel(), end.double().numpy().ravel()
    angle = math.acos(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    expected = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)
    np.testing.assert_allclose(slerp(start, end, share=share).numpy().ravel(), expected, rtol=0, atol=1e-6)
    unit = start / start.norm()
    other = end / end.norm()
    assert slerp(unit, other, share=share).norm().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(slerp(start, 2 * start, share=0.5), 1.5 * start)
    assert not slerp(torch.zeros(3), torch.zeros(3), share=0.5).any()


@pytest.fixture
def folders(tiny, tokenizer, tmp_path):
    """Three models of one shape: a base, one near it, and one as an adapter on the base."""
    base = tiny(seed=1)
    other = tiny(seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    for name, model in (("base", base), ("other", other)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    make_adapter(tmp_path / "base", tmp_path / "adapter", tokenizer, seed=2)
    return {name: str(tmp_path / name) for name in ("base", "other", "adapter")}


def merge(folders, models, recipe, tmp_path, *, dtype=torch.float32):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    models = [folders[model] for model in models]
    return out, merge_models(folders["base"], models, recipe, out, scratch=tmp_path / "scratch", dtype=dtype)


@pytest.mark.parametrize("method", ["linear", "ties", "dare_linear", "dare_ties", "slerp"])
def test_whole_models(folders, tmp_path, method):
    models = ["other"] if method == "slerp" else ["other", "adapter"]
    recipe = Recipe(method, (0.5,) * len(models), 0.6, seed=1)
    out, blend = merge(folders, models, recipe, tmp_path)
    inputs = [load_model(folders[name]).model.state_dict() for name in ("base", *models)]
    result, tokenizer = load_model(str(out))
    assert tokenizer.get_vocab() == load_model(folders["base"]).tokenizer.get_vocab()
    for name, tensor in result.state_dict().items():
        name_on_disk = "model.embed_tokens.weight" if name == "lm_head.weight" else name
        start, *ends = (state[name] for state in inputs)
        torch.testing.assert_close(
            tensor, blend_tensors(start, ends, recipe, name=name_on_disk), rtol=0, atol=1e-6
        )
    assert len(blend.distances) == 1 + len(models)
    assert 0 < blend.distances[0] < sum(blend.distances[1:])


def test_large_models_are_written_in_shards(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "SHARD_BYTES", 100_000)
    out, blend = merge(folders, ["other"], Recipe("linear", (1.0,)), tmp_path, dtype=torch.bfloat16)
    index = json.loads((out / tensors.INDEX).read_text())["weight_map"]
    assert len(index) == blend.tensors and len(set(index.values())) > 2
    assert not (out / tensors.SINGLE).exists()
    expected = load_model(folders["other"]).model
    for name, tensor in load_model(str(out), dtype=torch.bfloat16).model.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name].bfloat16(), rtol=0.01, atol=1e-3)
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_tied_head_that_one_file_holds_and_another_does_not_is_no_difference(folders, tmp_path):
    path = tmp_path / "base" / tensors.SINGLE
    weights = load_file(path)
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}, path)
    out, blend = merge(folders, ["other"], Recipe("linear", (0.5,)), tmp_path)
    assert blend.tensors == len(weights)
    assert load_file(out / tensors.SINGLE).keys() == weights.keys()


def test_what_a_vocabulary_stage_added_is_known_to_the_result(folders, tmp_path):
    added = Extension(390, ["咳", "嗽"], 400)
    for name in ("base", "other"):
        added.save(tmp_path / name)
    out, _ = merge(folders, ["other", "adapter"], Recipe("linear", (0.5, 0.5)), tmp_path)
    assert read_extension(out) == added


def test_a_disk_that_lies_is_noticed(tmp_path, monkeypatch):
    writer = tensors.TensorWriter(tmp_path, {"w": (2, 2)}, dtype=torch.float32)
    writer.add("w", torch.ones(2, 2))
    path = tmp_path / tensors.SINGLE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="w is not what was written"):
        writer.close()


def save(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_models_that_do_not_match_are_refused(folders, tiny, tokenizer, tmp_path):
    short = train_tokenizer(["abc def"] * 9, vocabulary=270)
    longer = tiny()
    longer.resize_token_embeddings(416, mean_resizing=False)
    config = tiny()
    config.config.rope_parameters["rope_theta"] = 5e5
    cases = {
        "their tokenizers differ": save(tiny(), short, tmp_path / "short"),
        "other vocabularies: .*embed_tokens.weight is": save(longer, tokenizer, tmp_path / "longer"),
        r"configs differ: .*num_hidden_layers \(2 and 3\)": save(
            tiny(shape="64x3"), tokenizer, tmp_path / "deeper"
        ),
        "configs differ: rope_parameters": save(config, tokenizer, tmp_path / "theta"),
    }
    for message, folder in cases.items():
        with pytest.raises(ModelError, match=message):
            merge(folders | {"wrong": folder}, ["wrong"], Recipe("linear", (1.0,)), tmp_path)
