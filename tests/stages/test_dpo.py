"""The stage dpo with each loss, packed or not, with either reference, from a model or an adapter."""

import json

import pytest
from safetensors.torch import load_file
from stage_toys import Stages
from torch.testing import assert_close

from xinglin.errors import DataError
from xinglin.train.meter import read_rows
from xinglin.train.preference_losses import LOSSES, REFERENCE_FREE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DRUGS = ["氨氯地平", "二甲双胍", "布地奈德", "别嘌醇", "甲巯咪唑", "糠酸莫米松", "请先做血常规，再决定用药"]
SMALL = {
    "model": "base",
    "split": "pairs",
    "max_tokens": 64,
    "batch_size": 4,
    "log_every_steps": 1,
    "epochs": 6,
    "optimizer": {"learning_rate": 5e-3},
}


def pair(question, chosen, rejected):
    return {"prompt": question, "chosen": chosen, "rejected": rejected}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data stage over seven pairs, and one over pairs whose answers are equal."""
    folder = tmp_path_factory.mktemp("dpo")
    pairs = [pair(f"孕妇能用{drug}吗？", "请咨询产科医生。", f"可以用{drug}。") for drug in DRUGS]
    long = [pair("很久以前。" * 60, "是。", "不是。"), *pairs]
    rated = [
        {"prompt": row["prompt"], "completion": row[answer], "label": answer == "chosen"}
        for answer in ("chosen", "rejected")
        for row in pairs
    ]
    for name, rows in {"pairs": pairs, "long": long, "rated": rated}.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    stages = Stages(folder / "run")
    splits = {
        name: {"sources": [{"path": str(folder / f"{name}.jsonl")}]} for name in ("pairs", "long", "rated")
    }
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64})
    return stages.made["data"]


@pytest.fixture
def stages(data, tmp_path):
    made = Stages(tmp_path)
    made.made["data"] = data
    return made


def train(stages, name="dpo", **settings):
    return stages.run("dpo", {"data": "stage:data", **SMALL, **settings}, name=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_to_prefer(stages, loss):
    extra = {"label_smoothing": 0.1} if loss in ("robust", "exo_pair") else {}
    made = train(stages, loss=loss, batch_size=7, epochs=8, eval_split="long", over_length="drop", **extra)
    rows = [row for row in read_rows(made.folder / "metrics.jsonl") if row["kind"] == "train"]
    gaps = [row["chosen_log_prob"] - row["rejected_log_prob"] for row in rows]
    assert gaps[-1] > gaps[0] + 1 and rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["accuracy"] == 1 and rows[-1]["margin"] > rows[0]["margin"]
    assert rows[-1]["margin"] == pytest.approx(rows[-1]["chosen_reward"] - rows[-1]["rejected_reward"])
    assert ("kl" in rows[-1]) == (loss == "kto")
    assert any(stages.folder.glob("dpo.scratch/reference-*")) == (loss not in REFERENCE_FREE)
    assert made.details["identical_pairs"] == {"pairs": 0, "long": 0}


@pytest.mark.parametrize("loss", ["sigmoid", "kto"])
def test_the_result_depends_neither_on_packing_nor_on_where_the_reference_comes_from(stages, loss):
    ways = {
        "packed": {},
        "narrow": {"micro_batch_tokens": 50},
        "apart": {"packing": False},
        "asked": {"reference": "adapter_off"},
    }
    made = {name: train(stages, name, loss=loss, epochs=2, **way) for name, way in ways.items()}
    assert {name: each.details["shared_beginnings"] for name, each in made.items()} == {
        name: name != "apart" for name in ways
    }
    found = {name: load_file(each.folder / "adapter_model.safetensors") for name, each in made.items()}
    for name in ways:
        for key, tensor in found[name].items():
            assert_close(
                tensor, found["packed"][key], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: name + text
            )


def test_an_adapter_that_is_trained_on_is_tied_to_its_own_base(stages):
    """Both references are the model below the adapter, however far the adapter has moved."""
    first = train(stages, "first", epochs=2)
    rows = []
    for reference in ("precomputed", "adapter_off"):
        made = train(
            stages, reference, model="stage:first", reference=reference, epochs=1, **{"continue": "same"}
        )
        rows.append(read_rows(made.folder / "metrics.jsonl")[0])
    assert rows[0]["margin"] == pytest.approx(rows[1]["margin"], rel=1e-3)
    assert abs(rows[0]["margin"]) > 1e-3
    assert first.kind == "adapter"


def test_kto_learns_from_single_rated_answers(stages):
    settings = {"split": "rated", "loss": "kto", "batch_size": 14, "epochs": 8}
    made = train(stages, **settings, eval_split="pairs")
    rows = read_rows(made.folder / "metrics.jsonl")
    before, *_, after = [row for row in rows if row["kind"] == "train"]
    assert after["loss"] < before["loss"] == pytest.approx(0.5, abs=1e-5)
    assert after["chosen_reward"] > 0 > after["rejected_reward"] and after["accuracy"] > 0.8
    assert made.details["ratings"] == {"rated": {"good": 7, "bad": 7}}
    assert [row for row in rows if row["kind"] == "eval"][-1]["accuracy"] > 0.8  # pairs, by the same loss
    other = train(stages, "off", **settings, reference="adapter_off", micro_batch_tokens=64)
    known, found = (load_file(each.folder / "adapter_model.safetensors") for each in (made, other))
    for name, tensor in known.items():
        assert_close(found[name], tensor, atol=2e-4, rtol=1e-3)


def test_ratings_are_for_kto(stages):
    with pytest.raises(
        DataError, match="'rated' holds ratings; name a split of preferences, or set loss: kto"
    ):
        train(stages, split="rated")
