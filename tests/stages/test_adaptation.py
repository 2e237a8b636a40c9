"""Adapters that are trained on, new layers, noise and other optimizers, through whole stages; merges of the results."""

import json

import pytest
import torch
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin.errors import Interrupted, ModelError
from xinglin.models.adapter import read_base, stack
from xinglin.models.embeddings import read_extension
from xinglin.models.load import load_model
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {
    "data": "stage:data",
    "max_tokens": 64,
    "batch_size": 4,
    "log_every_steps": 1,
    "optimizer": {"learning_rate": 1e-2},
}


@pytest.fixture
def stages(tmp_path):
    rows = [{"text": f"第{n}位患者首选{'氨氯地平二甲双胍布地奈德'[n % 3 * 4 :][:4]}。"} for n in range(12)]
    pairs = [
        {
            "prompt": [{"role": "user", "content": f"{n}？"}],
            "chosen": [{"role": "assistant", "content": "请咨询医生。"}],
            "rejected": [{"role": "assistant", "content": "随便。"}],
        }
        for n in range(8)
    ]
    splits = {}
    for name, content in (("train", rows), ("pairs", pairs)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        splits[name] = {"sources": [{"path": str(path)}]}
    stages = Stages(tmp_path / "run")
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64})
    return stages


def names(spec):
    return [path.rsplit("/", 1)[-1] for path in stack(str(spec))]


def logits(folder):
    with torch.no_grad():
        return load_model(str(folder)).model.eval()(torch.arange(30)[None]).logits


def test_continue_same_trains_the_adapter_on_and_new_puts_one_on_top(stages):
    first = stages.run("pretrain", {**SMALL, "model": "base", "epochs": 6}, name="first")
    ends_at = first.details["train"]["final_loss"]
    same = stages.run(
        "pretrain", {**SMALL, "model": "stage:first", "epochs": 4, "continue": "same"}, name="same"
    )
    new = stages.run("pretrain", {**SMALL, "model": "stage:first", "epochs": 4}, name="new")
    assert names(same.folder) == ["tiny:qwen3:64x2", "same"]
    assert names(new.folder) == ["tiny:qwen3:64x2", "first", "new"]
    assert read_base(same.folder) == read_base(first.folder)
    for made in (same, new):
        assert made.details["train"]["first_loss"] < ends_at + 0.5
        assert made.details["train"]["final_loss"] < made.details["train"]["first_loss"]
    assert same.config["continue"] == "same"
    stages.run("merge", {"model": "stage:same"})


def test_the_reference_of_an_adapter_that_is_trained_on_is_its_base(stages):
    stages.run("pretrain", {**SMALL, "model": "base", "epochs": 6}, name="first")
    settings = {**SMALL, "model": "stage:first", "split": "pairs", "continue": "same"}
    found = []
    for reference in ("precomputed", "adapter_off"):
        made = stages.run("dpo", {**settings, "reference": reference}, name=reference)
        found.append(load_file(made.folder / "adapter_model.safetensors"))
        rows = read_rows(made.folder / "metrics.jsonl")
        assert rows[0]["chosen_reward"] != 0  # policy and reference differ from the start
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-3, atol=1e-5)


VARIANTS = {
    "expanded": {"tuning": "freeze", "freeze": {"which": "new", "trainable_layers": 1}},
    "pissa": {"lora": {"init": "pissa"}},
    "dora": {"lora": {"dora": True}, "neftune_alpha": 5.0},
    "muon": {"tuning": "full", "optimizer": {"name": "muon", "learning_rate": 1e-2}},
    "adafactor": {"tuning": "full", "optimizer": {"name": "adafactor", "learning_rate": 1e-2}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_way_learns_and_ends_with_the_same_bits_when_interrupted(stages, variant):
    settings = {**SMALL, "model": "base", "epochs": 5, "save_every_steps": 4, **VARIANTS[variant]}
    made = stages.run("pretrain", settings, name="straight")
    train = made.details["train"]
    assert train["final_loss"] < train["first_loss"] - 0.3
    with pytest.raises(Interrupted):
        stages.run("pretrain", settings, name="broken", stop_after=7)
    resumed = stages.run("pretrain", settings, name="broken")
    files = [next(folder.glob("*model.safetensors")) for folder in (made.folder, resumed.folder)]
    first, second = map(load_file, files)
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_an_expanded_model_is_an_ordinary_one_and_merges(stages):
    settings = {**SMALL, "model": "base", "epochs": 5, **VARIANTS["expanded"]}
    made = stages.run("pretrain", settings, name="expanded")
    assert made.kind == "model"
    assert load_model(str(made.folder)).model.config.num_hidden_layers == 3


def test_a_sweep_of_merges(stages):
    full = {**SMALL, "tuning": "full"}
    stages.run("pretrain", {**full, "model": "base"}, name="start")
    for name, split in (("left", "train"), ("right", "train")):
        stages.run(
            "pretrain", {**full, "model": "stage:start", "epochs": 1 + len(name), "split": split}, name=name
        )
    common = {"model": "stage:start", "models": ["stage:left", "stage:right"]}
    halves = stages.run("merge", {**common, "method": "linear"}, name="halves")
    states = [
        load_model(str(stages.made[name].folder)).model.state_dict() for name in ("left", "right", "halves")
    ]
    for name, tensor in states[2].items():
        torch.testing.assert_close(tensor, (states[0][name] + states[1][name]) / 2, rtol=0, atol=1e-6)
    assert halves.metrics["merge.distance"]["value"] > 0
    for method, extra in (
        ("ties", {"density": 0.3}),
        ("dare_ties", {}),
        ("dare_linear", {"weights": [1, 0.5]}),
    ):
        made = stages.run("merge", {**common, "method": method, **extra}, name=method)
        assert logits(made.folder).isfinite().all()
    arc = {"model": "stage:left", "models": ["stage:right"], "method": "slerp", "weights": [0.0]}
    torch.testing.assert_close(
        logits(stages.run("merge", arc, name="arc").folder), logits(stages.made["left"].folder)
    )


def test_what_cannot_be_is_refused_before_anything_is_loaded(stages):
    stages.run("pretrain", {**SMALL, "model": "base", "tuning": "full"}, name="full")
    with pytest.raises(ModelError, match="continue same needs an adapter, and this is a full model"):
        stages.run("pretrain", {**SMALL, "model": "stage:full", "continue": "same"})
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="quantization 4bit needs a CUDA GPU, and there is none"):
            stages.run("pretrain", {**SMALL, "model": "base", "quantization": "4bit"})
        with pytest.raises(ModelError, match=r"optimizer.name adamw_8bit needs a CUDA GPU"):
            stages.run("pretrain", {**SMALL, "model": "base", "optimizer": {"name": "adamw_8bit"}})


def test_new_tokens_alone_are_trained_and_never_forgotten(stages):
    made = stages.run(
        "vocabulary", {"model": "base", "characters": 5, "pieces": 5, "min_count": 1, "data": "stage:data"}
    )
    extension = read_extension(made.folder)
    new = range(extension.first_new_id, extension.first_new_id + len(extension.added))
    settings = {**SMALL, "model": "stage:vocabulary", "epochs": 4, "lora": {"train_embeddings": "new"}}
    stages.run("pretrain", settings, name="trained")
    merged = stages.run("merge", {"model": "stage:trained"})
    before, after = (
        load_model(str(folder)).model.get_input_embeddings().weight for folder in (made.folder, merged.folder)
    )
    changed = (before != after).any(1).nonzero()[:, 0].tolist()
    assert len(new) > 1 and set(changed) <= set(new) and len(changed) > 1
    assert read_extension(merged.folder) == extension
    full = stages.run("pretrain", {**SMALL, "model": "stage:merge", "tuning": "full"}, name="full")
    assert read_extension(full.folder) == extension
