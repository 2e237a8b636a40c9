"""The scripts that are measured beside each other: all of them parse, and ours runs the job that the peers get."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from xinglin.runtime.environment import library_variables

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_parses_and_says_what_it_measures(script):
    assert ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))


def test_every_contender_has_a_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    training, data = importlib.import_module("training"), importlib.import_module("data")
    named = {name for contenders in training.CONTENDERS.values() for name, _ in contenders}
    assert named | {"xinglin"} == set(training.SCRIPTS)
    scripts = {*training.SCRIPTS.values(), *data.OF_DATA.values(), "job.py"}
    assert scripts == {path.name for path in training.FOLDER.glob("*.py")}
    assert all(set(rows) == set(training.CONTENDERS) for rows in training.ROWS.values())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sft", "ppo"])
def test_ours_runs_what_was_prepared(task, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)  # where no real rows are near: the packaged ones are taken
    prepared = importlib.import_module("prepared")
    monkeypatch.setitem(prepared.RL, "ppo", {"prompts": 2, "answers": 1, "new_tokens": 3, "epochs": 1})
    small = {"hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 64, "num_attention_heads": 2}
    monkeypatch.setitem(prepared.SHAPES, "8m", small)
    made = prepared.prepare(tmp_path, task, size="8m", rows=4)
    assert made.rows == 4 and made.source.startswith("sample:")
    tokens = [json.loads(line) for line in (tmp_path / "tokens.jsonl").read_text().splitlines()]
    counted = [len(row["input_ids"]) if task == "sft" else len(row["prompt_ids"]) + 3 for row in tokens]
    assert made.tokens == sum(counted)
    script = BENCHMARKS / "contenders" / "ours.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "2048"],
        capture_output=True,
        text=True,
        env=library_variables(offline=True) | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["cpu_seconds"] > 0 and result["peak_mib"] > 100
