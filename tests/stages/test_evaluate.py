"""The evaluate stage on random tiny models and a real, small data set artifact."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from xinglin.data.records import Conversation, Message, Origin, Question, Record
from xinglin.errors import DataError
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages import evaluate

ORIGIN = Origin("facts.yaml", 7)
QUESTIONS = [
    Question("发热应服用什么？", {"A": "对乙酰氨基酚", "B": "氨氯地平"}, "A", ORIGIN),
    Question("高血压应服用什么？", {"A": "对乙酰氨基酚", "B": "氨氯地平", "C": "多西环素"}, "B", ORIGIN),
]
TALKS = [
    Conversation(
        (Message("user", "发热怎么办？"), Message("assistant", "多喝水，休息。")),
        ORIGIN,
        {"safety": {"must_include_any": ["休息"]}},
    )
]


@pytest.fixture
def data(tmp_path: Path, tokenizer: Any) -> Artifact:
    from xinglin.data.templates import load_template

    folder = tmp_path / "data"
    splits: dict[str, list[Record]] = {"exam": [*QUESTIONS], "talks": [*TALKS], "nothing": []}
    for name, records in splits.items():
        (folder).mkdir(exist_ok=True)
        rows = "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(rows, encoding="utf-8")
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "tokenizer" / "chat_template.jinja").write_text(load_template("chatml"), encoding="utf-8")
    details = {"splits": {name: {"records": len(records)} for name, records in splits.items()}}
    return Artifact(folder, "data", "dataset", "data", "data-1", details=details)


def stage_run(tmp_path: Path, data: Artifact, *, out: str = "out", models: tuple[str, ...] = ()) -> StageRun:
    for name in (out, "scratch", "cache"):
        (tmp_path / name).mkdir(exist_ok=True)
    return StageRun(
        name="evaluate",
        seed=3,
        out=tmp_path / out,
        final=tmp_path / "final",
        scratch=tmp_path / "scratch",
        cache=tmp_path / "cache",
        base="tiny:qwen3:64x2",
        inputs={"stage:data": data, **{model: model for model in models}},
    )


def config(*benchmarks: dict[str, Any], **options: Any) -> evaluate.Config:
    row = {"kind": "evaluate", "data": "stage:data", "benchmarks": benchmarks, **options}
    return evaluate.Config.model_validate_json(json.dumps(row))


MODELS = ("tiny:qwen3:64x2", "tiny:llama:64x2")
ALL = (
    {"name": "exam", "split": "exam", "mode": "letter"},
    {"name": "exam", "label": "cloze", "split": "exam", "mode": "cloze"},
    {"name": "exam", "label": "free", "split": "exam", "mode": "generate", "max_new_tokens": 4},
    {"name": "dialogue", "split": "talks", "max_new_tokens": 4},
    {"name": "safety", "split": "talks", "max_new_tokens": 4},
)


def test_measures_and_compares_real_models(tmp_path: Path, data: Artifact) -> None:
    stage = config(*ALL, models=list(MODELS))
    outcome = evaluate.run(stage, stage_run(tmp_path, data, models=MODELS))
    assert outcome.kind == "evaluation"
    assert {name.split(".")[0] for name in outcome.metrics} == {"exam", "cloze", "free", "dialogue", "safety"}
    assert [model["name"] for model in outcome.details["models"]] == list(MODELS)
    assert outcome.details["models"][1]["metrics"] == outcome.metrics
    assert {row["metric"] for row in outcome.details["comparisons"]} >= {"exam.accuracy", "dialogue.rouge_l"}
    assert all(set(sample["answers"]) == set(MODELS) for sample in outcome.details["samples"])
    assert outcome.details["benchmarks"][0] == {
        "label": "exam",
        "items": 2,
        "chance": pytest.approx((1 / 2 + 1 / 3) / 2),
        "options": stage.benchmarks[0].model_dump(),
    }
    assert len(list((tmp_path / "out" / "samples").iterdir())) == len(ALL) * len(MODELS)
    json.dumps(outcome.details, allow_nan=False)


def test_the_same_model_later_costs_nothing(
    tmp_path: Path, data: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xinglin.engines.transformers import TransformersEngine

    stage = config(ALL[1], models=[MODELS[0]])
    first = evaluate.run(stage, stage_run(tmp_path, data, models=MODELS))

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr(TransformersEngine, "load", load)
    again = evaluate.run(stage, stage_run(tmp_path, data, out="later", models=MODELS))
    assert again == first


def failure(tmp_path: Path, data: Artifact, benchmark: dict[str, Any]) -> Outcome:
    return evaluate.run(config(benchmark, models=[MODELS[0]]), stage_run(tmp_path, data, models=MODELS))


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        ({"name": "exam", "split": "exams"}, r"no split 'exams'; did you mean 'exam'\?"),
        ({"name": "exam", "split": "nothing"}, "split 'nothing' has no records"),
        (
            {"name": "dialogue", "split": "exam"},
            "line 1: a question, but benchmark 'dialogue' takes conversations",
        ),
    ],
)
def test_splits_that_cannot_be_asked(
    tmp_path: Path, data: Artifact, benchmark: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        failure(tmp_path, data, benchmark)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"benchmarks": []}, "at least 1 item"),
        ({"benchmarks": [{"name": "exams", "split": "a"}]}, "'dialogue', 'exam', 'safety'"),
        ({"benchmarks": [{"name": "exam", "split": "a", "turns": "all"}]}, "Extra inputs are not permitted"),
        ({"benchmarks": [ALL[0], ALL[0]]}, "benchmark 'exam' is there twice; give one a label"),
        ({"benchmarks": [ALL[0]], "models": []}, "at least 1 item"),
        ({"benchmarks": [ALL[0]], "models": ["base", "base"]}, "model 'base' is there twice; name it once"),
    ],
)
def test_bad_configs(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        evaluate.Config.model_validate_json(json.dumps({"kind": "evaluate", **row}))


def test_options_survive_the_round_trip_that_fingerprints_take() -> None:
    stage = config({"name": "dialogue", "split": "talks", "turns": "all"})
    again = evaluate.Config.model_validate_json(stage.model_dump_json())
    assert again == stage
    assert stage.model_dump()["benchmarks"][0]["turns"] == "all"


def test_items_in_the_training_data_are_counted_and_left_out_of_a_second_look(
    tmp_path: Path, data: Artifact
) -> None:
    rows = [
        {"item": "exam:2", "containment": 0.9, "inside": 0.1},
        {"item": "other:1", "containment": 1.0, "inside": 0},
    ]
    (data.folder / "leaks.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    config = evaluate.Config(
        kind="evaluate",
        data="stage:data",
        models=["base"],
        benchmarks=[{"name": "exam", "split": "exam", "mode": "cloze"}],  # type: ignore[list-item]
    )

    def leaked(mode: str, out: str) -> list[dict[str, Any]]:
        details = {**data.details, "steps": {"leaks": {"mode": mode}}}
        found = Artifact(data.folder, "data", "dataset", "data", "data-1", details=details)
        run = stage_run(tmp_path, found, out=out, models=("base",))
        object.__setattr__(run, "inputs", {**run.inputs, "base": run.base})
        return evaluate.run(config, run).details["leaked"]

    (row,) = leaked("report", "one")
    assert (row["benchmark"], row["items"], row["leaked"]) == ("exam", 2, 1)
    (metrics,) = row["metrics"].values()
    assert metrics["exam.accuracy"]["value"] in (0.0, 1.0), "one item is left"
    assert leaked("remove", "two") == []
