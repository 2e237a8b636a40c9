"""The examples of docs/extending.md, copied into a copy of the package and run as the recipe at its end."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```\w+\n# (\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with every file of the page in its place, and data for the recipe."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert len(blocks) == 7
    for name, text in blocks:
        path = project / name
        assert not path.exists(), f"{name} exists: choose another example"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    rows = [{"complaint": f"咳嗽{day}天", "advice": "多休息。", "department": "呼吸科"} for day in range(24)]
    rows += [{"complaint": "头晕", "advice": "测血压。"}, {"complaint": "失眠", "advice": ""}]
    for name, part in (("triage", rows), ("triage_test", rows[:4])):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in part)
        (project / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return project


def xinglin(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from xinglin.cli.main import main; main()", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_list_names_the_new_plugins(project: Path):
    listed = json.loads(xinglin(project, "list", "--json"))
    assert listed["formats"]["triage"].startswith("Triage notes")
    assert listed["filters"]["shouting"].startswith("Shouting")
    assert listed["benchmarks"]["referral"].startswith("Alarming complaints")
    assert listed["objectives"]["dft"].startswith("Dynamic fine-tuning")
    assert listed["rewards"]["dose_unit"].startswith("Dose unit")
    assert listed["stages"]["dft"].startswith("Dynamic fine-tuning")


def test_the_recipe_runs(project: Path):
    xinglin(project, "run", "recipes/triage.yaml")
    stages = project / "runs" / "triage" / "stages"
    [source] = json.loads((stages / "data" / "artifact.json").read_text())["details"]["splits"]["train"][
        "sources"
    ]
    assert source["format"] == "triage"
    assert (source["rows_in"], source["rows_used"], source["rows_quarantined"]) == (26, 25, 1)
    assert source["reasons"] == {"no_answer": 1}
    first, *_, last = map(json.loads, (stages / "dft" / "metrics.jsonl").read_text().splitlines())
    assert 0 < first["probability"] < last["probability"]
    *_, learned = map(json.loads, (stages / "grpo" / "metrics.jsonl").read_text().splitlines())
    assert learned["step"] == 1
    metric = json.loads((stages / "evaluate" / "artifact.json").read_text())["metrics"]["referral.rate"]
    assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
