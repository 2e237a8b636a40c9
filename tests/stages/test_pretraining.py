"""Pretraining: mixed in fixed shares, streamed or not, contiguous or not, interrupted or not."""

import json
import shutil

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin import plugins
from xinglin.errors import DataError, Interrupted, TrainingError
from xinglin.models.load import load_model
from xinglin.models.tokenizer import load_tokenizer
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DRUGS = ["氨氯地平", "二甲双胍", "布地奈德", "别嘌醇", "甲巯咪唑", "糠酸莫米松"]
SMALL = {
    "data": "stage:data",
    "model": "base",
    "max_tokens": 64,
    "tuning": "full",
    "batch_tokens": 256,
    "log_every_steps": 1,
    "optimizer": {"learning_rate": 1e-3},
}


@pytest.fixture
def stages(tmp_path):
    def split(name, rows, **settings):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return {"sources": [{"path": str(path)}], **settings}

    def ask(number):
        drug = DRUGS[number % 6]
        return [{"role": "user", "content": f"问题{number}？"}, {"role": "assistant", "content": f"{drug}。"}]

    medical = [
        {"text": f"第{number}条：{DRUGS[number % 6]}每日一次。" * (number % 4 + 1)} for number in range(120)
    ]
    general = [{"text": f"Number {number} is a number. " * (number % 3 + 1)} for number in range(30)]
    pairs = [{"prompt": ask(0)[:1], "chosen": ask(0)[1:], "rejected": ask(1)[1:]}]
    splits = {
        "train": split("medical", medical),
        "general": split("general", general),
        "talk": split("talk", [{"messages": ask(number)} for number in range(20)]),
        "pairs": split("pairs", pairs),
        "dev": split("dev", medical[:9], held_out=True),
        "general_dev": split("general_dev", general[:9], held_out=True),
    }
    stages = Stages(tmp_path / "run")
    settings = {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64}
    stages.run("data", settings)
    stages.run("data", {**settings, "tokenizer_splits": ["general"]}, name="english")
    return stages


def weights(stage):
    return load_file(stage.folder / "model.safetensors")


def same(one, two):
    return all(tensor.equal(two[name]) for name, tensor in one.items())


def test_splits_are_mixed_and_every_dev_set_has_its_perplexity(stages):
    made = stages.run(
        "pretrain",
        {
            **SMALL,
            "epochs": 2,
            "mix": [{"split": "general", "share": 0.3}, {"split": "talk", "share": 0.1, "train": "answers"}],
            "eval_split": ["dev", "general_dev"],
        },
    )
    splits = made.details["reading"]["splits"]
    tokens = stages.made["data"].details["splits"]["train"]["tokens"]
    assert splits["train"]["tokens"] == 2 * tokens and splits["train"]["epochs"] == 2
    for name, share in {"train": 0.6, "general": 0.3, "talk": 0.1}.items():
        assert splits[name]["share"] == pytest.approx(share, abs=0.01)
    assert splits["talk"]["epochs"] > 1
    train = made.details["train"]
    assert train["steps"] == made.details["reading"]["planned_steps"]
    assert train["tokens"] == sum(split["tokens"] for split in splits.values())
    rows = read_rows(made.folder / "metrics.jsonl")
    last = {row["split"]: row for row in rows if row["kind"] == "eval" and row["step"] == train["steps"]}
    assert set(last) == {"dev", "general_dev"}
    assert last["dev"]["perplexity"] == pytest.approx(2.718281828 ** last["dev"]["loss"], rel=1e-3)
    assert {"loss/train", "loss/general", "loss/talk"} <= {name for row in rows for name in row}


def test_streaming_reads_the_same_text_and_ends_with_the_same_bits_whatever_is_there_already(stages):
    whole = stages.run("pretrain", SMALL, name="whole")
    streamed = {**SMALL, "stream": True, "part_bytes": 1500, "shuffle_parts": 3}
    one = stages.run("pretrain", streamed, name="one")
    assert len(list((stages.folder / "cache" / "shards").glob("[!.]*"))) > 8
    assert one.details["train"]["tokens"] == whole.details["train"]["tokens"]
    two = stages.run("pretrain", streamed, name="two")
    shutil.rmtree(stages.folder / "cache")
    three = stages.run("pretrain", streamed, name="three")
    assert same(weights(one), weights(two)) and same(weights(one), weights(three))
    assert not same(weights(one), weights(whole))


@pytest.mark.parametrize("stop_after", [2, 9])
def test_interrupted_while_streaming_is_uninterrupted(stages, stop_after):
    settings = {
        **SMALL,
        "epochs": 2,
        "stream": True,
        "part_bytes": 2000,
        "mix": [{"split": "general", "share": 0.25, "max_epochs": 1.5}],
        "documents": "contiguous",
    }
    whole = stages.run("pretrain", settings, name="whole")
    shutil.rmtree(stages.folder / "cache")
    with pytest.raises(Interrupted):
        stages.run("pretrain", settings, name="cut", stop_after=stop_after)
    again = stages.run("pretrain", settings, name="cut")
    assert again.details["train"]["steps"] == whole.details["train"]["steps"] > stop_after
    assert same(weights(again), weights(whole))
    assert again.details["reading"] == whole.details["reading"]


def test_contiguous_blocks_are_full_and_see_across_documents(stages):
    made = stages.run("pretrain", {**SMALL, "documents": "contiguous"})
    tokens = stages.made["data"].details["splits"]["train"]["tokens"]
    train = made.details["train"]
    assert train["tokens"] == tokens
    assert train["tokens"] - train["trained_tokens"] == -(-tokens // 64), "the first token of each block"


def test_a_vocabulary_that_was_extended_is_streamed_and_mixed(stages):
    stages.run("vocabulary", {"model": "base", "data": "stage:english", "characters": 20})
    settings = {**SMALL, "data": "stage:english", "model": "stage:vocabulary"}
    made = stages.run(
        "pretrain", {**settings, "stream": True, "part_bytes": 2000, "mix": [{"split": "talk", "share": 0.2}]}
    )
    assert len(load_model(str(made.folder)).tokenizer) == 20 + len(
        load_tokenizer(str(stages.made["english"].folder / "tokenizer"))
    )
    before = stages.made["english"].details["splits"]["train"]["tokens"]
    assert made.details["reading"]["splits"]["train"]["tokens"] < 0.7 * before


def test_what_makes_no_sense_is_refused(stages):
    with pytest.raises(DataError, match="split 'dev' is held out"):
        stages.run("pretrain", {**SMALL, "mix": [{"split": "dev", "share": 0.1}]})
    with pytest.raises(DataError, match="no split 'generl'; did you mean 'general'"):
        stages.run("pretrain", {**SMALL, "mix": [{"split": "generl", "share": 0.1}]})
    with pytest.raises(TrainingError, match="split 'pairs' holds preferences"):
        stages.run("pretrain", {**SMALL, "split": "pairs"})
    config = plugins.load("xinglin.stages", "pretrain").Config
    for settings, message in (
        ({"mix": [{"split": "a", "share": 0.5}, {"split": "b", "share": 0.5}]}, "leave nothing for 'train'"),
        ({"mix": [{"split": "train", "share": 0.5}]}, "'train' is read twice"),
        ({"mix": [{"split": "a", "share": 0.5}], "eval_split": ["b", "a"]}, "'a' is trained on"),
        ({"eval_split": ["dev", "train"]}, "evaluate on rows that are not trained on"),
        ({"documents": "contiguous", "over_length": "drop"}, "over_length means nothing"),
    ):
        with pytest.raises(ValidationError, match=message):
            config.model_validate({"kind": "pretrain", **settings})
