"""data, pretrain, sft, dpo and merge on toys: what goes in, what comes out, what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin.data.shards import Shards
from xinglin.errors import DataError, ModelError, TrainingError
from xinglin.models.adapter import stack
from xinglin.models.load import load_model
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {"data": "stage:data", "max_tokens": 64, "batch_size": 4, "log_every_steps": 1}
DRUGS = {
    "高血压": "氨氯地平",
    "糖尿病": "二甲双胍",
    "哮喘": "布地奈德",
    "痛风": "别嘌醇",
    "甲亢": "甲巯咪唑",
    "湿疹": "糠酸莫米松",
}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def stages(tmp_path):
    """A finished data stage over a few lines of medicine."""
    ask = "{}首选什么药？".format
    write_rows(
        tmp_path / "talk.jsonl",
        [
            {"messages": [{"role": "user", "content": ask(d)}, {"role": "assistant", "content": f"{drug}。"}]}
            for d, drug in DRUGS.items()
        ]
        + [{"messages": [{"role": "user", "content": "没有回答的问题"}]}],
    )
    write_rows(tmp_path / "text.jsonl", [{"text": f"{drug}用于治疗{d}。"} for d, drug in DRUGS.items()])
    write_rows(
        tmp_path / "pairs.jsonl",
        [
            {
                "prompt": [{"role": "user", "content": f"孕妇{ask(d)}"}],
                "chosen": [{"role": "assistant", "content": "请咨询产科医生。"}],
                "rejected": [{"role": "assistant", "content": f"{drug}。"}],
            }
            for d, drug in DRUGS.items()
        ],
    )
    stages = Stages(tmp_path / "run")
    write_rows(tmp_path / "long.jsonl", [{"text": "".join(map(str, range(2000)))}])
    files = {"documents": "text", "train": "talk", "pairs": "pairs", "long": "long"}
    splits = {
        split: {"sources": [{"path": str(tmp_path / f"{file}.jsonl")}]} for split, file in files.items()
    }
    splits["dev"] = {"sources": [{"path": str(tmp_path / "talk.jsonl"), "max_rows": 3}], "held_out": True}
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64})
    return stages


def test_data_counts_every_row_and_keeps_the_rest_with_reasons(stages):
    data = stages.made["data"]
    train = data.details["splits"]["train"]
    source = train["sources"][0]
    assert (source["rows_in"], source["rows_used"], source["rows_quarantined"]) == (7, 6, 1)
    quarantined = [json.loads(line) for line in (data.folder / "quarantine.jsonl").read_text().splitlines()]
    assert any(row["row"] == 7 and row["file"].endswith("talk.jsonl") for row in quarantined)
    rows = [json.loads(line) for line in (data.folder / "train.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == [f"{drug}。" for drug in DRUGS.values()]
    made = [Shards(folder).meta for folder in (data.folder / "shards").iterdir()]
    assert (train["tokens"], train["trained_tokens"]) in [
        (meta["tokens"], meta["trained_tokens"]) for meta in made
    ]
    assert data.details["tokenizer"]["vocabulary"] == 400


def test_hold_out_cuts_a_fixed_share_that_training_refuses(stages, tmp_path):
    write_rows(tmp_path / "many.jsonl", [{"text": f"第{number}段文字。"} for number in range(400)])
    splits = {"train": {"sources": [{"path": str(tmp_path / "many.jsonl")}], "hold_out": {"dev": 0.25}}}
    counts = []
    for name in ("one", "two"):
        made = stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400}, name=name)
        counts.append({split: facts["records"] for split, facts in made.details["splits"].items()})
    assert counts[0] == counts[1]
    assert counts[0]["train"] + counts[0]["dev"] == 400 and 70 < counts[0]["dev"] < 130
    with pytest.raises(DataError, match="held out for evaluation"):
        stages.run("pretrain", {**SMALL, "model": "base", "data": "stage:one", "split": "dev"})


def test_a_data_set_for_evaluation_alone(stages, tmp_path):
    """Its tokenizer can be loaded, but not trained."""
    splits = {"test": {"sources": [{"path": str(tmp_path / "talk.jsonl")}], "held_out": True}}
    with pytest.raises(DataError, match="every split is held out"):
        stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400})
    stages.run("pretrain", {**SMALL, "model": "base", "split": "documents", "tuning": "full"})
    made = stages.run("data", {"tokenizer": "stage:pretrain", "splits": splits}, name="test")
    assert made.details["tokenizer"] == stages.made["data"].details["tokenizer"] | {
        "trained": False,
        "characters_per_token": made.details["tokenizer"]["characters_per_token"],
    }


def test_the_chain_learns_stacks_and_merges(stages):
    settings = {**SMALL, "epochs": 15, "optimizer": {"learning_rate": 1e-2}}
    stages.run("pretrain", {**settings, "model": "base", "split": "documents", "tuning": "full"})
    sft = stages.run("sft", {**settings, "model": "stage:pretrain", "eval_split": "dev"})
    train = sft.details["train"]
    assert sft.kind == "adapter" and train["trainable_parameters"] < train["parameters"] / 2
    assert train["final_loss"] < 0.5 * train["first_loss"]
    assert (sft.folder / "loss.png").stat().st_size > 1000
    trained = "".join(text for text, flag in sft.details["example"] if flag)
    assert trained in {f"{drug}。<|im_end|>" for drug in DRUGS.values()}
    dpo = stages.run("dpo", {**settings, "model": "stage:sft", "split": "pairs"})
    rows = read_rows(dpo.folder / "metrics.jsonl")
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3), (
        "before the first step policy and reference are equal"
    )
    assert rows[-1]["margin"] > 0.1 and rows[-1]["accuracy"] >= rows[0]["accuracy"]
    assert [path.rsplit("/", 1)[-1] for path in stack(str(dpo.folder))] == ["pretrain", "sft", "dpo"]
    merged = stages.run("merge", {"model": "stage:dpo"})
    assert merged.metrics["merge.max_logit_difference"]["value"] < 1e-3
    ids = torch.arange(20)[None]
    with torch.no_grad():
        first, second = (load_model(str(made.folder)).model.eval()(ids).logits for made in (merged, dpo))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sft_weight", [0.0, 0.5])
def test_both_references_of_dpo_train_alike(stages, sft_weight):
    stages.run("sft", {**SMALL, "model": "base", "epochs": 2})
    settings = {**SMALL, "model": "stage:sft", "split": "pairs", "epochs": 3, "sft_weight": sft_weight}
    found = []
    for reference in ("precomputed", "adapter_off"):
        made = stages.run("dpo", {**settings, "reference": reference}, name=reference)
        found.append(load_file(made.folder / "adapter_model.safetensors"))
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-3, atol=1e-5)


def test_what_makes_no_sense_is_refused(stages):
    with pytest.raises(DataError, match="holds conversations; name a split of preferences"):
        stages.run("dpo", {**SMALL, "model": "base", "split": "train"})
    with pytest.raises(
        DataError, match=r"holds preferences; set preferences: chosen .* or preferences: hindsight"
    ):
        stages.run("sft", {**SMALL, "model": "base", "split": "pairs"})
    with pytest.raises(DataError, match="no split 'trian'; did you mean 'train'"):
        stages.run("sft", {**SMALL, "model": "base", "split": "trian"})
    with pytest.raises(TrainingError, match="fp16 needs a CUDA device"):
        stages.run("sft", {**SMALL, "model": "base", "precision": "fp16"})
    with pytest.raises(TrainingError, match="the model's window is 2048; set max_tokens to 2048 or less"):
        stages.run("pretrain", {**SMALL, "model": "base", "split": "long", "max_tokens": 9999})
    for _ in range(2):  # the second time, the empty shards are in the cache
        with pytest.raises(
            DataError, match="nothing to train on within 4 tokens; 6 answer_too_long, such as"
        ):
            stages.run("sft", {**SMALL, "model": "base", "max_tokens": 4})
    stages.run("sft", {**SMALL, "model": "base", "tuning": "full"}, name="full")
    with pytest.raises(ModelError, match="full model already"):
        stages.run("merge", {"model": "stage:full"})
