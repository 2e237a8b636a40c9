"""Two toy doctors with known answers: every metric and test can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_toys import RuleEngine, conversation, question

from xinglin.data.records import Document, Origin, Record
from xinglin.errors import DataError, PluginError
from xinglin.evaluate.benchmarks import dialogue, exam, safety
from xinglin.evaluate.predictions import Model, Predictions
from xinglin.evaluate.runner import MAX_SHOWN_SAMPLES, Result, compare, evaluate, shown_samples
from xinglin.evaluate.statistics import mcnemar, wilson_interval
from xinglin.evaluate.task import BenchmarkConfig, Task, build_task

NUM = 40
KNOWN_BEFORE = range(10)
KNOWN_AFTER = range(2, 32)

QUESTIONS = [question(f"题{index:02}", "B", A="青霉素", B="四环素") for index in range(NUM)]
DANGERS = [
    conversation(
        f"险{index:02}",
        "不能用。",
        safety={"must_include_any": ["不能"]},
        tags=["control"] if index % 4 == 0 else [],
    )
    for index in range(NUM)
]
DIALOGUES = [conversation(f"问{index:02}", "请多喝水，注意休息。") for index in range(NUM)]


def doctor(known: range) -> RuleEngine:
    answers = {f"题{index:02}": "四环素" for index in known}
    answers |= {f"险{index:02}": "不能用。" for index in known}
    answers |= {f"问{index:02}": "请多喝水。" for index in known}
    return RuleEngine(answers, habit="青霉素")


@pytest.fixture
def tasks() -> list[Task]:
    return [
        build_task(exam.Config(name="exam", split="exam", mode="cloze"), QUESTIONS, seed=0),
        build_task(safety.Config(name="safety", split="safety"), DANGERS, seed=0),
        build_task(
            dialogue.Config(name="dialogue", label="chat", split="chat", max_new_tokens=4), DIALOGUES, seed=0
        ),
    ]


@pytest.fixture
def results(tmp_path: Path, tasks: list[Task]) -> list[Result]:
    predictions = Predictions(tmp_path / "cache", settings={}, seed=0)
    models = [
        Model("base/1", "base", "before", lambda: doctor(KNOWN_BEFORE)),
        Model("sft", "sft", "after", lambda: doctor(KNOWN_AFTER)),
    ]
    return [evaluate(model, tasks, predictions=predictions, folder=tmp_path / "samples") for model in models]


def rows_by_metric(results: list[Result], tasks: list[Task]) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in compare(results, tasks, seed=0)}


def test_metrics_are_means_with_intervals(results: list[Result]) -> None:
    before, after = results
    assert before.metrics["exam.accuracy"]["value"] == 10 / NUM
    low, high = wilson_interval(30, trials=NUM)
    assert after.metrics["exam.accuracy"] == {"value": 30 / NUM, "low": low, "high": high}
    assert after.metrics["exam.answered"]["value"] == 1.0
    # Controls are 0, 4, … 36; of the rest the first knows 1, 2, 3, 5, 6, 7, 9.
    assert before.metrics["safety.unsafe_rate"]["value"] == 23 / 30
    assert before.metrics["safety.control_rate"]["value"] == 3 / 10
    assert after.metrics["chat.mean_length"]["value"] == pytest.approx((30 * 4 + 10 * 3) / NUM)
    assert after.metrics["chat.truncated"]["value"] == 30 / NUM
    assert after.metrics["chat.reference_length"] == {"value": 10.0, "low": 10.0, "high": 10.0}
    rouge = after.metrics["chat.rouge_l"]
    assert rouge["low"] < rouge["value"] < rouge["high"]


def test_models_are_compared_in_pairs(results: list[Result], tasks: list[Task]) -> None:
    rows = rows_by_metric(results, tasks)
    row = rows["exam.accuracy"]
    expected = mcnemar([i in KNOWN_BEFORE for i in range(NUM)], [i in KNOWN_AFTER for i in range(NUM)])
    assert (row["baseline"], row["model"], row["test"], row["n"]) == ("base/1", "sft", "mcnemar_exact", NUM)
    assert (row["wins"], row["losses"], row["p_alone"]) == (22, 2, expected.p)
    assert row["difference"] == 0.5
    assert rows["chat.rouge_l"]["test"] == "sign_flip"
    assert set(rows) == {
        "exam.accuracy",
        "safety.unsafe_rate",
        "safety.control_rate",
        "chat.bleu_4",
        "chat.rouge_1",
        "chat.rouge_2",
        "chat.rouge_l",
    }


def test_fewer_unsafe_answers_are_wins(results: list[Result], tasks: list[Task]) -> None:
    row = rows_by_metric(results, tasks)["safety.unsafe_rate"]
    # Of the dangers, 1 is lost (1) and 17 are won (10 … 31 without the controls 12, 16, … 28).
    assert (row["wins"], row["losses"], row["n"]) == (17, 1, 30)
    assert row["difference"] == pytest.approx(-16 / 30)
    assert row["low"] < row["difference"] < row["high"] < 0


def test_p_values_are_adjusted_for_all_tests(results: list[Result], tasks: list[Task]) -> None:
    rows = compare(results, tasks, seed=0)
    smallest = min(rows, key=lambda row: row["p_alone"])
    assert smallest["p"] == pytest.approx(smallest["p_alone"] * len(rows))
    assert all(row["p_alone"] <= row["p"] <= 1 for row in rows)


def test_equal_models_do_not_differ(results: list[Result], tasks: list[Task]) -> None:
    rows = compare([results[1], results[1]], tasks, seed=0)
    assert {(row["difference"], row["p"], row["wins"], row["losses"]) for row in rows} == {(0.0, 1.0, 0, 0)}


def test_several_models_may_be_compared_with_the_first(results: list[Result], tasks: list[Task]) -> None:
    before, after = results
    rows = compare([before, after, before], tasks, against="first", seed=0)
    assert {row["baseline"] for row in rows} == {"base/1"}
    assert [row["difference"] for row in rows if row["metric"] == "exam.accuracy"] == [0.5, 0.0]


def test_one_model_has_nothing_to_be_compared_with(results: list[Result], tasks: list[Task]) -> None:
    assert compare(results[:1], tasks, seed=0) == []


def test_every_sample_is_written(results: list[Result], tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    names = {"exam", "safety", "chat"}
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{model}.jsonl" for name in names for model in ("base%2F1", "sft")
    }
    rows = [
        json.loads(line) for line in (folder / "chat.sft.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    assert len(rows) == NUM
    row = rows[2]
    assert row["prompt"] == [{"role": "user", "content": "问02"}]
    assert (row["id"], row["origin"], row["reference"]) == ("chat:3", "toy.jsonl:1", "请多喝水，注意休息。")
    assert (row["prediction"], row["text"], row["finish"]) == ("请多喝水", "请多喝水", "length")
    assert row["correct"] == row["scores"]["rouge_l"]
    rows = [
        json.loads(line) for line in (folder / "exam.sft.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    assert (rows[2]["prediction"], rows[2]["correct"]) == ("B. 四环素", True)
    assert rows[2]["likelihoods"] == [[-2.0, 3], [0.0, 3]]


def test_shown_samples_spread_over_all_tasks_and_hold_all_models(
    results: list[Result], tasks: list[Task]
) -> None:
    rows = shown_samples(results, tasks)
    assert len(rows) == MAX_SHOWN_SAMPLES
    exams = [row for row in rows if row["benchmark"] == "exam"]
    assert [row["id"] for row in exams] == [f"exam:{line}" for line in range(1, NUM + 1, 5)]
    assert exams[2] == {
        "benchmark": "exam",
        "id": "exam:11",
        "prompt": "题10",
        "reference": "B. 四环素",
        "answers": {"base/1": "A. 青霉素", "sft": "B. 四环素"},
        "correct": {"base/1": False, "sft": True},
    }


def test_turns_of_a_conversation_have_ids_of_their_own() -> None:
    record = conversation("发热", "几天了？", "三天", "请就诊。")
    config = dialogue.Config(name="dialogue", split="test", turns="all")
    assert [item.id for item in build_task(config, [record, record], seed=0).items] == [
        "test:1.1",
        "test:1.2",
        "test:2.1",
        "test:2.2",
    ]


def test_max_samples_draws_with_the_seed_and_keeps_the_order() -> None:
    def drawn(seed: int, max_samples: int) -> list[str]:
        config = exam.Config(name="exam", split="exam", max_samples=max_samples)
        return [item.id for item in build_task(config, QUESTIONS, seed=seed).items]

    everything = drawn(1, NUM)
    assert drawn(1, 10) == drawn(1, 10) != drawn(2, 10)
    assert drawn(1, 10) == sorted(drawn(1, 10), key=everything.index)
    assert len(set(drawn(1, 10))) == 10


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], r"split 'test' has no records, so benchmark 'dialogue' has nothing to ask"),
        (QUESTIONS, r"split 'test', line 1: a question, but benchmark 'dialogue' takes conversations"),
        ([DIALOGUES[0], Document("text", Origin("a", 1))], r"split 'test', line 2: a document"),
    ],
)
def test_records_that_a_benchmark_cannot_ask(records: list[Record], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_task(dialogue.Config(name="dialogue", split="test"), records, seed=0)


def test_an_unknown_benchmark_names_the_nearest() -> None:
    with pytest.raises(PluginError, match="unknown benchmark 'exams'; did you mean 'exam'"):
        build_task(BenchmarkConfig(name="exams", split="test"), QUESTIONS, seed=0)
