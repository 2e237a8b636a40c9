"""A model's own answers become data: rejection sampling, preferences, a teacher's text."""

import json
from collections import Counter

import pytest
from pydantic import ValidationError
from stage_toys import Stages

from xinglin.data.prompts import exam_question, prompt_of
from xinglin.data.records import Conversation, Message, Origin, Preference, Question
from xinglin.data.sampled import Answer, Asked, LeftOut, Selection
from xinglin.errors import DataError, Interrupted
from xinglin.stages import sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DISEASES = ("高血压", "糖尿病", "哮喘", "痛风", "甲亢", "湿疹", "头痛", "失眠")
ANSWERS = ("请多休息，多喝水。", "请到门诊就诊。")


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def talk(*turns):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A data set, and a model that has learned to answer its questions in two ways."""
    folder = tmp_path_factory.mktemp("sampling")
    rows = [talk(f"{disease}怎么办？", answer) for disease in DISEASES for answer in ANSWERS]
    write(folder / "talk.jsonl", rows)
    write(
        folder / "few.jsonl",
        [
            talk("失眠怎么办？", "多喝水。", "还有呢？", "就诊。"),
            talk("".join(map(str, range(4000))), "好。"),
        ],
    )
    write(folder / "pairs.jsonl", [{"prompt": "头痛怎么办？", "chosen": "就诊。", "rejected": "不管。"}] * 2)
    question = {"question": "孕妇禁用？", "options": {"A": "青霉素", "B": "四环素"}, "answer": "B"}
    write(folder / "exam.jsonl", [question] * 3)
    asked = exam_question(Question(**question, origin=Origin("exam.jsonl", 1)), free=True)
    write(folder / "lessons.jsonl", [*rows, talk(asked, "答案：B"), talk(asked, "答案：A")])
    write(folder / "text.jsonl", [{"text": "高血压要少吃盐。"}])
    stages = Stages(folder / "run")
    names = {
        "train": "talk",
        "lessons": "lessons",
        "few": "few",
        "pairs": "pairs",
        "exam": "exam",
        "documents": "text",
    }
    splits = {name: {"sources": [{"path": str(folder / f"{file}.jsonl")}]} for name, file in names.items()}
    splits["dev"] = {**splits["train"], "held_out": True}
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64})
    stages.run(
        "sft",
        {
            "model": "base",
            "data": "stage:data",
            "split": "lessons",
            "tuning": "full",
            "max_tokens": 128,
            "batch_size": 16,
            "epochs": 45,
            "optimizer": {"learning_rate": 1e-2},
        },
    )
    return stages


def settings(**options):
    return {
        "model": "stage:sft",
        "data": "stage:data",
        "max_new_tokens": 24,
        "max_tokens": 64,
        "rewards": [{"name": "length", "shortest": 1, "longest": 8, "edge": 2.0}],
        **options,
    }


def lines(artifact, name):
    text = (artifact.folder / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def answers_of(rows):
    return Counter(row["messages"][-1]["content"] for row in rows)


def test_the_best_answers_become_conversations_that_sft_trains_on(stages):
    made = stages.run("sample", settings(splits=["train", "dev"], answers=6), name="best")
    assert made.kind == "dataset"
    rows = lines(made, "train.jsonl")
    assert answers_of(rows)[ANSWERS[1]] > len(rows) / 2, "the shorter one earns more"
    before = stages.made["data"].folder / "train.jsonl"
    asked = [json.loads(line) for line in before.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["messages"][0] == asked[0]["messages"][0] and rows[0]["origin"] == asked[0]["origin"]
    assert rows[0]["meta"]["sample"]["model"] == "stage:sft"
    train, dev = made.details["splits"]["train"], made.details["splits"]["dev"]
    (source,) = train["sources"]
    assert source["rows_in"] == 16 == source["rows_used"] + source["rows_quarantined"]
    assert train["records"] == len(rows) == source["records"] and train["tokens"] > 0
    assert (train["held_out"], dev["held_out"]) == (False, True)
    assert made.metrics["sample.best_reward"]["value"] >= made.metrics["sample.mean_reward"]["value"]
    assert made.details["sample"]["train"]["answers"] == 96
    json.dumps(made.details, allow_nan=False)
    trained = stages.run(
        "sft", {"model": "stage:sft", "data": "stage:best", "max_tokens": 64, "max_steps": 1}, name="again"
    )
    assert trained.details["train"]["steps"] == 1
    with pytest.raises(DataError, match="held out"):
        stages.run("sft", {"model": "stage:sft", "data": "stage:best", "split": "dev"}, name="refused")


def test_pairs_are_best_over_worst_and_dpo_trains_on_them(stages):
    made = stages.run("sample", settings(answers=8, keep="pairs", min_margin=0.05), name="made_pairs")
    rows = lines(made, "train.jsonl")
    assert rows and made.details["splits"]["train"]["record"] == "preference"
    for row in rows:
        rewards = row["meta"]["sample"]
        assert rewards["chosen_reward"] - rewards["rejected_reward"] >= 0.05
        assert len(row["chosen"][0]["content"]) < len(row["rejected"][0]["content"])
    (source,) = made.details["splits"]["train"]["sources"]
    assert set(source["reasons"]) <= {"tie", "unfinished"}
    left_out = lines(made, "quarantine.jsonl")
    assert len(left_out) == source["rows_quarantined"] and len(rows) == source["rows_used"]
    dpo = {"model": "stage:sft", "data": "stage:made_pairs", "max_tokens": 64, "max_steps": 1}
    assert stages.run("dpo", dpo).details["train"]["steps"] == 1


def test_a_teachers_text_needs_no_rewards(stages):
    teacher = settings(keep="all", answers=1, temperature=0.0, rewards=[])
    made = stages.run("sample", teacher, name="teacher")
    rows = lines(made, "train.jsonl")
    assert len(rows) > 8 and set(made.metrics) == {"sample.used"}
    assert (
        stages.run("sample", teacher, name="teacher2")
        and lines(stages.made["teacher2"], "train.jsonl") == rows
    )


def test_equal_bytes_however_it_is_batched_and_interrupted(stages, monkeypatch):
    options = settings(answers=3, keep="all", rewards=[])
    whole = stages.run("sample", options, name="whole")
    monkeypatch.setattr(sample, "BLOCK_PROMPTS", 5)
    small = stages.run("sample", {**options, "batch_tokens": 64}, name="small")
    with pytest.raises(Interrupted):
        stages.run("sample", options, name="stopped", stop_after=3)
    ledger = stages.folder / "stopped.scratch" / "train.jsonl"
    kept = ledger.read_bytes()
    assert len(kept.splitlines()) == 10
    ledger.write_bytes(kept + kept[:40])
    resumed = stages.run("sample", options, name="stopped")
    expected = (whole.folder / "train.jsonl").read_bytes()
    assert (small.folder / "train.jsonl").read_bytes() == expected
    assert (resumed.folder / "train.jsonl").read_bytes() == expected
    assert (resumed.folder / "quarantine.jsonl").read_bytes() == (
        whole.folder / "quarantine.jsonl"
    ).read_bytes()
    assert resumed.metrics == whole.metrics


def test_every_prompt_is_accounted_for(stages):
    made = stages.run("sample", settings(splits=["few"], keep="all", rewards=[], answers=8), name="few")
    (source,) = made.details["splits"]["few"]["sources"]
    assert source["reasons"] == {"too_long": 1}
    (left_out,) = lines(made, "quarantine.jsonl")
    assert (left_out["row"], left_out["file"]) == (2, "few.jsonl") and "exceed the window of" in left_out[
        "detail"
    ]
    (first, *_) = lines(made, "few.jsonl")
    assert [message.get("train", True) for message in first["messages"]] == [True, False, True, True]


def test_exam_questions_are_asked_and_judged(stages):
    rewards = [{"name": "exam_answer"}, {"name": "template_leakage", "veto": True}]
    made = stages.run(
        "sample",
        settings(splits=["exam"], rewards=rewards, answers=8, max_tokens=128),
        name="exam",
    )
    assert lines(made, "exam.jsonl")[0]["messages"][0]["content"].startswith(
        "孕妇禁用？\nA. 青霉素\nB. 四环素\n"
    )
    kept = {
        row["messages"][-1]["content"]: row["meta"]["sample"]["reward"] for row in lines(made, "exam.jsonl")
    }
    assert kept == {"答案：B": 1.0}
    assert lines(made, "exam.jsonl")[0]["meta"]["exam"]["answer"] == "B", "so that a selection can look it up"
    assert set(made.details["sample"]["exam"]["components"]) == {"exam_answer", "template_leakage"}


def test_at_most_so_many_prompts_drawn_by_the_seed(stages):
    options = settings(keep="all", answers=2, rewards=[], max_prompts=6)
    made = stages.run("sample", options, name="drawn")
    assert made.details["sample"]["train"]["prompts"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": ["trian"]}, "no split 'trian'; did you mean 'train'?"),
        ({"splits": ["documents"]}, "split 'documents' holds documents, which ask nothing"),
        (
            {"splits": ["train", "exam"]},
            "hold conversation and question records; sample each kind in a stage",
        ),
        (
            {"rewards": [{"name": "exam_answer"}]},
            "reward 'exam_answer': there is no right answer to a conversation",
        ),
        ({"min_reward": 5.0}, r"no prompt gave a record \(\d+ below_threshold.*; lower min_reward"),
        ({"max_new_tokens": 1}, r"no prompt gave a record \(16 unfinished.*; raise max_new_tokens \(1\)"),
    ],
)
def test_what_cannot_be_sampled(stages, options, message):
    with pytest.raises(DataError, match=message):
        stages.run("sample", settings(**options), name=f"refused-{hash(message)}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": []}, "keep: best needs rewards"),
        ({"keep": "pairs", "answers": 1}, "keep: pairs needs at least 2 answers"),
        ({"temperature": 0.0}, "with temperature 0 all answers to a prompt are equal"),
        ({"keep": "all", "rewards": [], "min_reward": 0.0}, "min_reward needs rewards"),
        ({"reward_low": 1.0, "reward_high": 1.0}, "reward_low is not below reward_high"),
        ({"rewards": [{"name": "length"}] * 2}, "reward 'length' is there twice; give one a label"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        sample.Config.model_validate({"kind": "sample", **settings(**options)})


ASKED = Conversation((Message("user", "头痛"), Message("assistant", "…")), Origin("t.jsonl", 1))


def answer(text, reward, finish="stop"):
    return Answer(text, finish, 3, reward)


def chosen(selection, *answers):
    return selection.records(Asked(0, answers), ASKED, model="m")


def test_the_first_of_equal_answers_is_best_and_cut_ones_never_are():
    (record,) = chosen(
        Selection("best"),
        answer("x", 9, "length"),
        answer("", 9),
        answer("药\ufffd", 9),
        answer("a", 1),
        answer("b", 1),
        answer("c", 0),
    )
    assert record.messages[-1].content == "a" and record.meta["sample"] == {"model": "m", "reward": 1}


def test_a_pair_needs_a_margin():
    answers = answer("a", 1.0), answer("b", 0.4), answer("a", 1.0), answer("c", -3, "length")
    (pair,) = chosen(Selection("pairs", min_margin=0.5), *answers)
    assert isinstance(pair, Preference) and (pair.chosen, pair.rejected) == ("a", "b")
    assert pair.prompt == prompt_of(ASKED).messages
    for margin, given in (
        (0.7, answers),
        (0.0, (answer("a", 1), answer("b", 1))),
        (0.0, (answer("a", 1),) * 2),
    ):
        with pytest.raises(LeftOut, match="tie"):
            chosen(Selection("pairs", min_margin=margin), *given)


def test_thresholds_hold_for_what_is_kept():
    answers = answer("a", 1.0), answer("b", 0.4), answer("b", 0.4)
    assert len(chosen(Selection("all"), *answers)) == 2
    assert len(chosen(Selection("all", min_reward=0.5), *answers)) == 1
    (pair,) = chosen(Selection("pairs", min_reward=0.5), *answers)
    assert pair.rejected == "b", "the worse one may be below"
    with pytest.raises(LeftOut, match="below_threshold"):
        chosen(Selection("best", min_reward=2), *answers)
    with pytest.raises(LeftOut, match="too_long"):
        Selection("best").records(Asked(0, (), "too_long", "so long"), ASKED, model="m")
