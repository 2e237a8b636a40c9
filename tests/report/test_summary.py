import json
from pathlib import Path

import pytest
from fake_run import MERGED, PRETRAIN, SFT, RunBuilder
from rich.console import Console

from xinglin.errors import CheckpointError, RunError
from xinglin.report.summary import summarise, tables
from xinglin.runtime.artifact import Artifact


def test_summary_is_plain_data_in_recipe_order(run_folder: Path) -> None:
    summary = summarise(run_folder)
    assert json.loads(json.dumps(summary)) == summary
    assert [stage["name"] for stage in summary["stages"]] == [
        "data",
        "pretrain",
        "sft",
        "exam",
        "dpo",
        "merge",
        "final",
    ]
    assert {stage["status"] for stage in summary["stages"]} == {"finished"}
    assert summary["seconds"] == pytest.approx(sum(stage["seconds"] for stage in summary["stages"]))
    assert summary["reproduce"] == "xinglin run runs/demo/recipe.yaml --out runs/demo-again"


def test_numbers_are_those_of_the_artifacts(run_folder: Path) -> None:
    summary = summarise(run_folder)
    final = Artifact.load(run_folder / "stages" / "final").details
    merged = next(model for model in summary["models"] if model["name"] == "merge")
    assert merged["metrics"] == final["models"][1]["metrics"]
    assert summary["data"]["data"] == Artifact.load(run_folder / "stages" / "data").details
    assert [row for row in summary["comparisons"] if row["evaluation"] == "final"] == [
        {"evaluation": "final", **row} for row in final["comparisons"]
    ]


def test_a_model_evaluated_twice_has_one_row_unless_the_numbers_differ(builder: RunBuilder) -> None:
    builder.evaluate("exam", {"pretrain": ("pretrain", PRETRAIN), "sft": ("sft", SFT)})
    builder.evaluate("final", {"sft": ("sft", SFT), "merge": ("merge", MERGED)})
    assert [row["evaluations"] for row in summarise(builder.folder)["models"]] == [
        ["exam"],
        ["exam", "final"],
        ["final"],
    ]
    builder.evaluate("final", {"sft": ("sft", SFT | {"exam.accuracy": 0.5}), "merge": ("merge", MERGED)})
    models = summarise(builder.folder)["models"]
    assert [(row["name"], row["metrics"]["exam.accuracy"]["value"]) for row in models] == [
        ("pretrain", 0.257),
        ("sft", 0.932),
        ("sft", 0.5),
        ("merge", 0.929),
    ]


def test_unfinished_failed_and_missing_stages(builder: RunBuilder) -> None:
    builder.data()
    work = builder.folder / "work"
    (work / "pretrain").mkdir(parents=True)
    (work / "pretrain" / "seconds").write_text("12.5")
    (work / "pretrain" / "error.txt").write_text("")
    (work / "sft").mkdir()
    (work / "sft" / "error.txt").write_text("step 3: the loss is nan\n")
    states = {s["name"]: (s["status"], s["error"], s["seconds"]) for s in summarise(builder.folder)["stages"]}
    assert states["data"] == ("finished", None, 6.4)
    assert states["pretrain"] == ("unfinished", None, 12.5)
    assert states["sft"] == ("unfinished", "step 3: the loss is nan", None)
    assert states["dpo"] == ("missing", None, None)
    final = next(stage for stage in summarise(builder.folder)["stages"] if stage["name"] == "final")
    assert final["inputs"] == {"data": "data", "models.0": "sft", "models.1": "merge"}


def test_environment_lists_what_changed_between_stages(builder: RunBuilder) -> None:
    builder.data()
    builder.merge()
    builder.change("merge", environment={"torch": "2.14.0", "hardware": {"memory": "8.0 GiB"}})
    environment = summarise(builder.folder)["environment"]
    assert environment["torch"] == ["2.13.0+cpu", "2.14.0"]
    assert environment["hardware.memory"] == "8.0 GiB"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        summarise(tmp_path)


def test_a_damaged_artifact_is_refused(builder: RunBuilder) -> None:
    builder.data()
    (builder.folder / "stages" / "data" / "artifact.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        summarise(builder.folder)


def test_tables_fit_a_terminal_and_hold_the_numbers(run_folder: Path) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    for table in tables(summarise(run_folder)):
        console.print(table)
    console.file.close()
    text = console.export_text().replace("\u202f", " ")
    assert "93.2 % [90.3, 96.1]" in text
    assert "−85.0, p < 0.001" in text
    assert "vs sft" in text
    assert "100.0 % ▲" in text
    assert "9 no answer" in text
    assert "…" not in text


def test_tables_of_a_run_without_any_finished_stage(builder: RunBuilder) -> None:
    assert [table.title for table in tables(summarise(builder.folder))] == ["Stages"]


def test_the_recipes_model_is_called_base_by_readers_and_by_its_id_in_data(builder: RunBuilder) -> None:
    builder.evaluate("exam", {"tiny:qwen3": ("base", PRETRAIN), "sft": ("sft", SFT)})
    summary = summarise(builder.folder)
    assert [model["name"] for model in summary["models"]] == ["tiny:qwen3", "sft"]
    with open("/dev/null", "w") as sink:  # noqa: PTH123
        console = Console(width=80, record=True, file=sink)
        console.print(tables(summary)[0])
    assert "vs base" in console.export_text()
    assert "tiny:qwen3" not in console.export_text()


def test_a_stage_may_be_named_by_a_number(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("stages:\n  1: {kind: data}\n", encoding="utf-8")
    assert [stage["name"] for stage in summarise(tmp_path)["stages"]] == ["1"]
