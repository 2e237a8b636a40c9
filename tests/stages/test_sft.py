"""What SFT takes besides plain conversations: preferences, weights, tools, reasoning, phases, text beside it."""

import json
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from stage_toys import Stages

from xinglin.errors import DataError, Interrupted
from xinglin.report.curves import charts
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {
    "data": "stage:data",
    "model": "base",
    "max_tokens": 600,
    "batch_size": 4,
    "log_every_steps": 1,
    "epochs": 2,
}
SMALL |= {"optimizer": {"learning_rate": 1e-3}}
CALL = {"function": {"name": "lookup", "arguments": {"drug": "布洛芬"}}}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def asked(question, answer, **more):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    write_rows(
        folder / "talk.jsonl",
        [
            {"messages": asked(f"问题{n}", "答" + " ".join(map(str, range(n)))), "difficulty": n % 3}
            for n in range(12)
        ],
    )
    write_rows(
        folder / "easy.jsonl", [{"messages": asked(f"问题{n}", "答"), "difficulty": 0} for n in range(3)]
    )
    write_rows(
        folder / "weighted.jsonl",
        [{"messages": asked("甲", "乙", weight=0.25)}, {"messages": asked("丙", "丁")}],
    )
    write_rows(
        folder / "tools.jsonl",
        [
            {
                "tools": [{"name": "lookup", "parameters": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": "多少钱"},
                    {"role": "assistant", "tool_calls": [CALL]},
                    {"role": "tool", "content": '{"price": 12}'},
                    {"role": "assistant", "content": "12 元", "reasoning_content": "看结果"},
                ],
            }
        ],
    )
    write_rows(
        folder / "pairs.jsonl",
        [{"prompt": f"怎么办{n}", "chosen": "看医生", "rejected": f"不用管{n}"} for n in range(6)]
        + [{"prompt": "怎么办0", "chosen": "看医生", "rejected": "随便"}],
    )
    write_rows(folder / "text.jsonl", [{"text": f"第{n}段医学文字。" * 3} for n in range(5)])
    splits = {
        name: {"sources": [{"path": str(folder / f"{name}.jsonl")}]}
        for name in ("talk", "easy", "weighted", "tools", "pairs", "text")
    }
    splits["again"] = {"sources": [{"path": str(folder / "talk.jsonl")}]}
    splits["both"] = {"sources": [{"path": str(folder / f"{name}.jsonl")} for name in ("talk", "weighted")]}
    splits["held"] = {"sources": [{"path": str(folder / "text.jsonl")}], "held_out": True}
    made = Stages(folder / "run")
    made.run(
        "data",
        {"tokenizer": "base", "splits": splits, "vocabulary": 500, "template": "qwen3", "max_tokens": 600},
    )
    return made


def sft(stages, name, **settings):
    made = stages.run("sft", {**SMALL, **settings}, name=name)
    return made, read_rows(made.folder / "metrics.jsonl")


def trained_text(made):
    return "".join(text for text, weight in made.details["example"] if weight)


def test_accepted_answers_each_once(stages):
    made, _ = sft(stages, "chosen", split="pairs", preferences="chosen")
    assert made.details["train"]["steps"] == 4  # 6 of 7 pairs, 4 a step, twice
    assert trained_text(made) == "看医生<|im_end|>"


def test_chain_of_hindsight(stages):
    made, rows = sft(stages, "hindsight", split="pairs", preferences="hindsight", eval_split="talk")
    assert made.details["train"]["steps"] == 14  # 4 x 7 conversations
    assert trained_text(made).count("<|im_end|>") in (1, 2)
    assert any(row["kind"] == "eval" and row["split"] == "talk" for row in rows)


def test_a_weight_is_how_much_a_message_counts(stages):
    made, _ = sft(stages, "weighted", split="weighted", batch_size=2)
    shown = {text: weight for text, weight in made.details["example"] if weight}
    assert shown in ({"乙<|im_end|>": 0.25}, {"丁<|im_end|>": True})


def test_losses_are_told_apart_by_source(stages):
    _, rows = sft(stages, "sources", split="both", batch_size=14, eval_split="talk")
    for row in rows:
        apart = [value for name, value in row.items() if name.startswith("loss/")]
        if row["kind"] == "train":
            assert {"loss/talk.jsonl", "loss/weighted.jsonl"} <= row.keys()
            assert min(apart) <= row["loss"] <= max(apart)
        else:
            assert not apart  # one source: its loss is the loss


def test_tools_and_reasoning(stages):
    made, _ = sft(stages, "tools", split="tools")
    trained = trained_text(made)
    assert '"name": "lookup", "arguments": {"drug": "布洛芬"}' in trained
    assert "<think>\n看结果\n</think>\n\n12 元" in trained
    assert "price" not in trained
    made, _ = sft(stages, "dropped", split="tools", reasoning="drop")
    assert "看结果" not in "".join(text for text, _ in made.details["example"])
    made, _ = sft(stages, "kept", split="talk", reasoning="keep")
    assert trained_text(made).startswith("<think>\n\n</think>\n\n答")


@pytest.mark.parametrize("by", ["length", "difficulty", "loss", "ifd"])
def test_curriculum_goes_from_easy_to_hard(stages, by):
    settings = {"by": by, "buckets": 3, "replay": 0.5}
    made, rows = sft(stages, f"by-{by}", split="talk", curriculum=settings, epochs=1)
    phases = made.details["curriculum"]["phases"]
    assert [phase["sequences"] for phase in phases] == [4, 4, 4]
    assert [phase["replayed"] for phase in phases] == [0, 2, 4]
    assert [phase["steps"] for phase in phases] == [1, 2, 2]
    assert all(a["highest"] <= b["lowest"] for a, b in pairwise(phases))
    assert len([row for row in rows if row["kind"] == "train"]) == 5


@pytest.mark.parametrize("keep_best", [False, True])
def test_the_evaluation_knows_the_buckets(stages, keep_best):
    settings = {"by": "loss", "buckets": 3}
    made, rows = sft(
        stages,
        f"buckets-{keep_best}",
        split="talk",
        curriculum=settings,
        eval_split="again",
        eval_every_steps=1,
        keep_best=keep_best,
    )
    phases = made.details["curriculum"]["phases"]
    evals = [row for row in rows if row["kind"] == "eval"]
    kept = min(evals, key=lambda row: row["loss"]) if keep_best else evals[-1]
    names = ["loss/bucket 1", "loss/bucket 2", "loss/bucket 3"]
    assert [phase["eval_loss"] for phase in phases] == [kept[name] for name in names]
    assert all(names == [key for key in row if "bucket" in key] for row in evals)
    for row in evals:
        assert min(row[name] for name in names) < row["loss"] < max(row[name] for name in names)
    assert any(chart.title == "Loss of bucket 2" for chart in charts(rows))


def test_a_held_out_sequence_is_in_the_bucket_of_its_score(stages):
    made, rows = sft(
        stages, "easy", split="talk", curriculum={"by": "difficulty"}, eval_split="easy", max_steps=2
    )
    losses = [phase["eval_loss"] for phase in made.details["curriculum"]["phases"]]
    assert losses == [rows[-1]["loss/bucket 1"], None, None]
    assert losses[0] == pytest.approx(rows[-1]["loss"])


def test_text_beside_the_answers(stages):
    made, rows = sft(stages, "regularised", split="talk", regulariser={"split": "text", "batch_size": 2})
    alone, plain = sft(stages, "unregularised", split="talk")
    assert made.details["train"]["steps"] == alone.details["train"]["steps"]
    assert made.details["train"]["tokens"] > alone.details["train"]["tokens"]
    assert rows[0]["loss"] - 0.01 * rows[0]["text_loss"] == pytest.approx(plain[0]["loss"], rel=1e-5)
    assert rows[-1]["text_loss"] < rows[0]["text_loss"]


def test_interrupted_while_forgetting_equals_uninterrupted(stages):
    settings = {**SMALL, "split": "pairs", "preferences": "hindsight", "save_every_steps": 2, "epochs": 1}
    plain = stages.run("sft", settings, name="remembering")
    settings["forgetting"] = 0.5
    straight = stages.run("sft", settings, name="forgetting")
    with pytest.raises(Interrupted):
        stages.run("sft", settings, name="interrupted", stop_after=3)
    resumed = stages.run("sft", settings, name="interrupted")
    remembered, known, found = (
        load_file(made.folder / "adapter_model.safetensors") for made in (plain, straight, resumed)
    )
    assert all(torch.equal(found[name], tensor) for name, tensor in known.items())
    assert not all(torch.equal(remembered[name], tensor) for name, tensor in known.items())


def test_interrupted_in_a_phase_equals_uninterrupted(stages):
    settings = {
        **SMALL,
        "split": "talk",
        "curriculum": {"by": "ifd", "replay": 0.5},
        "regulariser": {"split": "text", "batch_size": 2},
        "save_every_steps": 2,
    }
    straight = stages.run("sft", settings, name="straight")
    with pytest.raises(Interrupted):
        stages.run("sft", settings, name="broken", stop_after=5)
    broken = stages.run("sft", settings, name="broken")
    known, found = (load_file(made.folder / "adapter_model.safetensors") for made in (straight, broken))
    assert all(torch.equal(found[name], tensor) for name, tensor in known.items())
    assert broken.details["curriculum"] == straight.details["curriculum"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "pairs"}, "set preferences: chosen .* or preferences: hindsight"),
        ({"split": "talk", "eval_split": "pairs"}, "split 'pairs' holds preferences"),
        ({"split": "talk", "preferences": "chosen"}, "split 'talk' holds conversations"),
        (
            {"split": "talk", "regulariser": {"split": "pairs"}},
            "split 'pairs' holds preferences; regulariser.split needs documents",
        ),
        ({"split": "talk", "regulariser": {"split": "held"}}, "name one that is not"),
        ({"split": "talk", "regulariser": {"split": "txet"}}, "did you mean 'text'"),
        (
            {"split": "talk", "curriculum": {"by": "hardness"}},
            "meta.hardness is None, not a number; .* length, loss",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(stages, settings, message):
    with pytest.raises(DataError, match=message):
        sft(stages, "refused", **settings)
