"""The examples of docs/extending.md, copied into a copy of the package and run as the recipe at its end."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chat_server import ChatServer, last_user, serving

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```\w+\n# (\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with every file of the page in its place, and data for the recipe."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert len(blocks) == 12
    for name, text in blocks:
        path = project / name
        assert not path.exists(), f"{name} exists: choose another example"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    advice = ("多休息。", "有痰吗？多休息。", "装过起搏器吗？序列号：PM4032817。发烧吗？")
    rows = [
        {"complaint": f"咳嗽{day}天", "advice": advice[day % 3], "department": "呼吸科"} for day in range(24)
    ]
    rows += [{"complaint": "头晕", "advice": "测血压。"}, {"complaint": "失眠", "advice": ""}]
    for name, part in (("triage", rows), ("triage_test", rows[:4])):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in part)
        (project / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return project


def letter(body: dict[str, Any]) -> str:
    return "患者因咳嗽来诊，已嘱多休息，请贵科协助进一步诊治，谢谢。" if "咳嗽" in last_user(body) else "好。"


def xinglin(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    environment["XINGLIN_DEIDENTIFY_KEY"] = "0123456789abcdef"
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


def records(stage: Path, split: str) -> list[dict[str, Any]]:
    (path,) = stage.rglob(f"{split}.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_list_names_the_new_plugins(project: Path):
    listed = json.loads(xinglin(project, "list", "--json"))
    assert listed["formats"]["triage"].startswith("Triage notes")
    assert listed["filters"]["shouting"].startswith("Shouting")
    assert listed["scores"]["asking_back"].startswith("Asking back")
    assert listed["steps"]["middle"].startswith("Middle")
    assert listed["synthesis"]["referral_letter"].startswith("Referral letters")
    assert listed["benchmarks"]["referral"].startswith("Alarming complaints")
    assert listed["objectives"]["dft"].startswith("Dynamic fine-tuning")
    assert listed["rewards"]["dose_unit"].startswith("Dose unit")
    assert listed["stages"]["dft"].startswith("Dynamic fine-tuning")


def test_the_recipe_runs(project: Path):
    with serving(ChatServer(letter)) as url:
        xinglin(project, "run", "recipes/triage.yaml", "--set", f"stages.letters.endpoint.base_url={url}")
    stages = project / "runs" / "triage" / "stages"
    [source] = json.loads((stages / "data" / "artifact.json").read_text())["details"]["splits"]["train"][
        "sources"
    ]
    assert source["format"] == "triage"
    assert (source["rows_in"], source["rows_used"], source["rows_quarantined"]) == (26, 25, 1)
    assert source["reasons"] == {"no_answer": 1}
    train = records(stages / "data", "train")
    assert sum("<器械序列号>" in row["messages"][1]["content"] for row in train) == 8
    letters = records(stages / "letters", "letters")
    assert len(letters) == 24 and all("请贵科协助" in row["messages"][1]["content"] for row in letters)
    chosen = [row["messages"][1]["content"].count("？") for row in records(stages / "select", "train")]
    assert (chosen.count(1), len(chosen)) == (8, 20)
    first, *_, last = map(json.loads, (stages / "dft" / "metrics.jsonl").read_text().splitlines())
    assert 0 < first["probability"] < last["probability"]
    *_, learned = map(json.loads, (stages / "grpo" / "metrics.jsonl").read_text().splitlines())
    assert learned["step"] == 1
    metric = json.loads((stages / "evaluate" / "artifact.json").read_text())["metrics"]["referral.rate"]
    assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
