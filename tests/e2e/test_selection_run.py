"""The recipe that compares a chosen tenth with a random one, shortened, through the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SHORT = [
    *("stages.pretrain.max_steps=4", "stages.brief.max_steps=4", "stages.chosen.max_steps=2"),
    *(
        "stages.random.max_steps=2",
        "stages.data.splits.train.sources=[{path: sample:dialogues, max_rows: 400}]",
    ),
    *(
        "stages.evaluate.benchmarks=[{name: exam, split: exam, mode: cloze, max_samples: 12}]",
        "model=tiny:qwen3:64x2",
    ),
]


def xinglin(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", "from xinglin.cli.main import main; main()", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_chosen_against_random_to_the_report(tmp_path):
    sets = [argument for setting in SHORT for argument in ("--set", setting)]
    xinglin("run", "recipes/select.yaml", *sets, "--out", tmp_path / "run")
    summary = json.loads(xinglin("show", tmp_path / "run", "--json"))
    select = next(stage for stage in summary["stages"] if stage["kind"] == "select")
    sizes = select["details"]["selection"]["sizes"]
    assert sizes["chosen"]["records"] == sizes["random"]["records"] >= 20
    (test,) = [row for row in summary["comparisons"] if row["metric"] == "exam.accuracy"]
    assert (test["model"], test["baseline"]) == ("chosen", "random") and test["n"] == 12
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "What was chosen to train on" in page and "The ends of ifd" in page
    again = xinglin("run", tmp_path / "run" / "recipe.yaml", "--dry-run", "--out", tmp_path / "run")
    assert "select" in again and "new" not in again, "the recipe that was written stands for the same run"
