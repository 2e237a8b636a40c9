"""Splits that are read together, in SFT and pretraining: shares, ends, priorities, resumed with the same bits."""

import json

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin import plugins
from xinglin.errors import DataError, Interrupted
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {
    "data": "stage:data",
    "model": "base",
    "max_tokens": 64,
    "tuning": "full",
    "batch_tokens": 512,
    "log_every_steps": 1,
    "save_every_steps": 3,
    "optimizer": {"learning_rate": 1e-3},
}
SAFE = [{"split": "general", "share": 0.4}, {"split": "safety", "share": 0.1, "max_epochs": 2}]
BY_PRIORITY = {
    "priority": 16,
    "mix": [{"split": "general", "priority": 4}, {"split": "safety", "priority": 1, "max_epochs": 3}],
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixing")

    def split(name, rows, **settings):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return {"sources": [{"path": str(path)}], **settings}

    def talk(number, text):
        return {
            "messages": [{"role": "user", "content": f"{text}{n}"} for n in [number]]
            + [{"role": "assistant", "content": f"{text * (number % 3 + 1)}。"}]
        }

    splits = {
        "doctor": split("doctor", [talk(n, "头痛") for n in range(90)]),
        "general": split("general", [talk(n, "weather ") for n in range(50)]),
        "safety": split("safety", [talk(n, "急诊") for n in range(6)]),
        "book": split("book", [{"text": f"第{n}页：血压。"} for n in range(40)]),
        "pairs": split("pairs", [{"prompt": f"问{n}", "chosen": "好", "rejected": "坏"} for n in range(9)]),
        "dev": split("dev", [talk(n, "头痛") for n in range(90, 96)], held_out=True),
        "general_dev": split("general_dev", [talk(n, "weather ") for n in range(50, 56)], held_out=True),
    }
    made = Stages(folder / "run")
    made.run(
        "data",
        {"tokenizer": "base", "splits": splits, "vocabulary": 400, "template": "qwen3", "max_tokens": 64},
    )
    return made


def run(stages, kind, name, *, stop_after=None, **settings):
    return stages.run(kind, {**SMALL, "split": "doctor", **settings}, name=name, stop_after=stop_after)


def weights(stage):
    return load_file(stage.folder / "model.safetensors")


def test_sft_reads_several_splits_in_shares_of_the_tokens(stages, capsys):
    made = run(stages, "sft", "mixed", mix=SAFE, epochs=2, eval_split=["dev", "general_dev"])
    splits = made.details["reading"]["splits"]
    sizes = {name: split["tokens"] for name, split in stages.made["data"].details["splits"].items()}
    assert splits["doctor"]["tokens"] == 2 * sizes["doctor"]
    assert splits["safety"]["tokens"] == 2 * sizes["safety"] and splits["safety"]["epochs"] == 2
    assert splits["general"]["tokens"] / splits["doctor"]["tokens"] == pytest.approx(0.4 / 0.5, rel=0.05)
    rows = read_rows(made.folder / "metrics.jsonl")
    assert {row["split"] for row in rows if row["kind"] == "eval"} == {"dev", "general_dev"}
    assert {"loss/doctor", "loss/general", "loss/safety"} <= {key for row in rows for key in row}
    train = made.details["train"]
    assert train["trained_tokens"] < train["tokens"] * 0.6, "answers only"
    assert train["steps"] == made.details["reading"]["planned_steps"]
    assert "will be read" not in capsys.readouterr().out


def test_what_is_read_too_often_is_said(stages, capsys):
    run(stages, "sft", "often", mix=[{"split": "safety", "share": 0.5}], max_steps=8)
    assert "warning: mix: safety will be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("sft", {"mix": SAFE}),
        ("sft", {"mix": SAFE, "regulariser": {"split": "book", "batch_size": 2}}),
        ("sft", BY_PRIORITY),
        ("sft", {"split": "pairs", "preferences": "chosen", "mix": [{"split": "general", "share": 0.5}]}),
        ("pretrain", {"split": "book", **BY_PRIORITY}),
    ],
)
def test_interrupted_is_uninterrupted(stages, kind, settings):
    name = f"cut-{len(stages.made)}"
    whole = run(stages, kind, f"{name}-whole", **settings)
    steps = whole.details["train"]["steps"]
    with pytest.raises(Interrupted):
        run(stages, kind, name, stop_after=max(2, steps // 2), **settings)
    again = run(stages, kind, name, **settings)
    assert all(tensor.equal(weights(again)[key]) for key, tensor in weights(whole).items())
    assert again.details["reading"] == whole.details["reading"]


def test_by_priority_every_split_is_read_to_its_end_and_instructions_come_last(stages):
    made = run(stages, "pretrain", "staged", split="book", **BY_PRIORITY)
    splits = made.details["reading"]["splits"]
    assert {name: split["epochs"] for name, split in splits.items()} == {"book": 1, "general": 1, "safety": 3}
    assert splits["book"]["priority"] == 16
    rows = [row for row in read_rows(made.folder / "metrics.jsonl") if row["kind"] == "train"]
    assert "loss/book" in rows[0] and "loss/book" not in rows[-1] and "loss/safety" in rows[-1]
    assert made.details["train"]["trained_tokens"] > made.details["train"]["tokens"] * 0.8, "all of it"


def test_what_makes_no_sense_is_refused(stages):
    for kind, settings, message in (
        (
            "sft",
            {"mix": [{"split": "a"}]},
            "'a' needs a share and no priority, since 'train' has no priority",
        ),
        (
            "pretrain",
            {"mix": [{"split": "a", "share": 0.1}], "priority": 2},
            "'a' needs a priority and no share",
        ),
        ("sft", {"priority": 2}, "mix names none"),
        ("sft", {"mix": [{"split": "a", "share": 0.1}], "curriculum": {"by": "length"}}, "mix names others"),
        ("sft", {"mix": [{"split": "a", "share": 0.1}], "eval_split": ["b", "a"]}, "'a' is trained on"),
        (
            "pretrain",
            {"mix": [{"split": "a", "priority": 1}], "priority": 2, "stream": True},
            "leave stream out",
        ),
    ):
        with pytest.raises(ValidationError, match=message):
            plugins.load("xinglin.stages", kind).Config.model_validate({"kind": kind, **settings})
    with pytest.raises(DataError, match="split 'pairs' holds preferences"):
        run(stages, "sft", "refused", mix=[{"split": "pairs", "share": 0.1}])
