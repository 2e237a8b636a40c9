import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xinglin.cli.main import COMMANDS, main

HEAVY = ["torch", "transformers", "pydantic", "ruamel.yaml", "rich", "numpy", "jinja2", "matplotlib"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom xinglin.cli.main import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command_as_the_commands_do() -> None:
    output = call("--help").output
    assert all(f"  {name}" in output for name in COMMANDS)
    assert "xinglin run recipes/tiny.yaml --from sft" in call("run", "--help").output


def test_list_and_its_json_agree() -> None:
    found = json.loads(call("list", "--json").output)
    kinds = ["stages", "formats", "filters", "benchmarks", "objectives", "rewards"]
    kinds += ["scores", "steps", "embeddings", "synthesis", "templates", "samples"]
    assert list(found) == kinds
    assert all(text for names in found.values() for text in names.values()), "every plugin has a summary"
    printed = call("list", "stages").output
    assert all(name in printed for name in found["stages"])


def test_list_settings_of_a_stage() -> None:
    rows = {row["key"]: row for row in json.loads(call("list", "stages", "sft", "--json").output)}
    assert rows["optimizer.learning_rate"]["type"] == "number > 0"
    assert all(row["doc"] for row in rows.values()), "every field is documented"
    assert "optimizer.learning_rate" in call("list", "stages", "sft").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "stags"], "error: unknown kind 'stags'; did you mean 'stages'?\n"),
        (["list", "stages", "sfft"], "error: unknown stage 'sfft'; did you mean 'sft'?\n"),
        (["list", "templates", "qwen3"], "error: templates have no settings; "),
        (["show", "nowhere"], "error: nowhere: no recipe.yaml, so no run; "),
        (["run", "nowhere.yaml"], "error: nowhere.yaml: there is no such file; paths start from "),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(message) and result.stdout == ""


def test_doctor() -> None:
    checks = {check["name"]: check for check in json.loads(call("doctor", "--json").output)}
    assert {"python", "torch", "cpu", "memory", "disk here"} <= checks.keys()
    result = call("doctor")
    assert result.exit_code == (0 if all(check["ok"] for check in checks.values()) else 1)


def test_import_of_the_package_costs_nothing() -> None:
    code = "import sys, xinglin; print(xinglin.__version__, len([m for m in sys.modules if 'xinglin' in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "1"
    import xinglin

    assert callable(xinglin.run) and callable(xinglin.load)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xinglin.nothing  # pyrefly: ignore[missing-attribute]


def test_show(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("stages: {a: {kind: data}}\n")
    (tmp_path / "work" / "a").mkdir(parents=True)
    (tmp_path / "work" / "a" / "error.txt").write_text("Traceback\nValueError: a bug\n")
    output = call("show", str(tmp_path)).output
    assert "failed" in output.splitlines()[4] and "a failed: ValueError: a bug" in output
    assert json.loads(call("show", str(tmp_path), "--json").output)["stages"][0]["name"] == "a"
