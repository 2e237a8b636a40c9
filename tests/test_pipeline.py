"""The pipeline with toy stages: what runs, what is kept, and what a kill, a crash or Ctrl-C leaves behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from xinglin import pipeline
from xinglin.errors import CheckpointError, DataError, RunError, XinglinError
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.executor import StageCrashed

HERE = Path(__file__).parent
RECIPE = """\
name: toy
model: tiny:qwen3
stages:
  words: {kind: words, files: [words.txt]}
  one: {kind: count, steps: 4}
  two: {kind: count, steps: 30, pause_seconds: 0.02}
  all: {kind: join, models: [stage:one, stage:two]}
"""
STAGES = ("words", "one", "two", "all")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("some words", encoding="utf-8")
    Path("toy.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def run(*sets: str, recipe: str = "toy.yaml", **options: Any) -> pipeline.Run:
    return pipeline.run(recipe, sets=("stages.two.pause_seconds=0", *sets), package="toy_stages", **options)


def states(*sets: str, **options: Any) -> dict[str, str]:
    plan = pipeline.plan(
        "toy.yaml", sets=("stages.two.pause_seconds=0", *sets), package="toy_stages", **options
    )
    return {planned.stage.name: f"{planned.state} {planned.reason}".strip() for planned in plan.stages}


def finished(run_folder: str = "runs/toy") -> dict[str, str]:
    """Stage -> time at which it was finished, to see whether it ran again; whole artifacts only."""
    found = {}
    for path in Path(run_folder).glob("stages/*/artifact.json"):
        artifact = Artifact.load(path.parent)
        artifact.verify()
        found[artifact.stage] = str(path.stat().st_mtime_ns)
    return found


def ran_again(before: dict[str, str]) -> set[str]:
    return {name for name, when in finished().items() if before.get(name) != when}


def test_a_run_leaves_artifacts_a_report_and_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    result = run()
    assert tuple(result.artifacts) == STAGES
    assert (result.folder / "stages/two/weights.txt").read_text().split() == [str(17 + i) for i in range(30)]
    two = result.artifacts["two"]
    assert (two.kind, two.stage_kind, two.inputs) == ("model", "count", {"model": "one", "data": "words"})
    assert two.files.keys() == {"weights.txt"}
    assert two.environment["python"] == sys.version.split()[0]
    printed = capsys.readouterr().out
    assert "talk to it  xinglin chat runs/toy/stages/all" in printed
    assert "<html" in (result.folder / "report.html").read_text(encoding="utf-8")
    log = (result.folder / "log.txt").read_text(encoding="utf-8")
    assert "two 30/30  loss 0.0333" in log, "what a stage prints is logged"
    assert "talk to it" in log, "what the pipeline prints is logged"
    assert not list((result.folder / "work").iterdir())


def test_what_is_finished_is_skipped_and_what_changed_runs_again() -> None:
    run()
    before = finished()
    assert states() == dict.fromkeys(STAGES, "cached")
    run()
    assert ran_again(before) == set()

    change = "stages.one.steps=5"
    changed = "run its inputs, the seed or the code changed"
    assert states(change) == {
        "words": "cached",
        "one": "run changed: steps",
        "two": changed,
        "all": changed,
    }
    run(change)
    assert ran_again(before) == {"one", "two", "all"}
    assert "steps: 5" in Path("runs/toy/recipe.yaml").read_text()

    before = finished()
    Path("words.txt").write_text("other words", encoding="utf-8")
    assert states(change)["words"] == changed
    assert states(change, start_from="all")["all"] == changed
    Path("words.txt").write_text("some words", encoding="utf-8")
    run(change, start_from="two")
    assert ran_again(before) == {"two"}
    assert states("seed=18", change)["all"] == changed


def test_only_one_stage() -> None:
    with pytest.raises(RunError, match=r"'two' starts from 'one', which is not finished .*\(run: new\)"):
        run(only="two")
    run(only="words")
    run(only="one")
    assert finished().keys() == {"words", "one"}
    with pytest.raises(RunError, match=r"which is not finished for this recipe .*changed: steps"):
        run("stages.one.steps=7", only="two")
    with pytest.raises(RunError, match="no stage 'tow'; did you mean 'two'"):
        run(only="tow")
    with pytest.raises(RunError, match="exclude each other"):
        run(only="two", start_from="one")


def test_the_old_artifact_stays_until_the_new_one_is_whole() -> None:
    run()
    before = Artifact.load(Path("runs/toy/stages/two")).fingerprint
    recipe = RECIPE.replace(
        "two: {kind: count, steps: 30, pause_seconds: 0.02}", "two: {kind: fail, how: bug}"
    )
    Path("toy.yaml").write_text(recipe.replace(", stage:two", ""), encoding="utf-8")
    with pytest.raises(StageCrashed):
        pipeline.run("toy.yaml", package="toy_stages")
    assert Artifact.load(Path("runs/toy/stages/two")).fingerprint == before


def test_a_rename_that_was_cut_off_is_made_up_for() -> None:
    run()
    work = Path("runs/toy/work/two")
    work.mkdir()
    Path("runs/toy/stages/two").rename(work / "out")
    when = (work / "out/artifact.json").stat().st_mtime_ns
    assert states()["two"].startswith("publish")
    run()
    assert Path("runs/toy/stages/two/artifact.json").stat().st_mtime_ns == when


FAILURES = {
    "bug": (StageCrashed, r"(?s)ZeroDivisionError: a bug.*stage 'broken': stopped by the bug above"),
    "user": (DataError, r"^stage 'broken': words.txt:3: no word; delete the line$"),
    "file": (DataError, r"^stage 'broken': words.txt: not a text file$"),
    "kill": (StageCrashed, r"^stage 'broken': killed by SIGKILL \(out of memory\?\)$"),
    "segfault": (StageCrashed, r"^stage 'broken': killed by SIGSEGV"),
    "disk": (RunError, r"^stage 'broken': runs/toy: the disk is full \(.* free\); make room"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failing_stage_leaves_the_pipeline_alive_and_the_rest_untouched(how: str) -> None:
    error, message = FAILURES[how]
    recipe = RECIPE + f"  broken: {{kind: fail, how: {how}}}\n  last: {{kind: join}}\n"
    Path("toy.yaml").write_text(recipe, encoding="utf-8")
    with pytest.raises(error, match=message):
        run()
    before = finished()
    assert before.keys() == set(STAGES)
    if how != "kill":
        left = {
            "bug": "ZeroDivisionError",
            "user": "delete the line",
            "file": "not a text file",
            "segfault": "Fatal Python error",
            "disk": "full",
        }
        assert left[how] in Path("runs/toy/work/broken/error.txt").read_text()
    assert "killed by" in Path("runs/toy/log.txt").read_text() or how not in ("kill", "segfault")
    run("stages.broken.how=never")
    assert ran_again(before) == {"broken", "last"}


def test_damaged_artifacts_are_named() -> None:
    run()
    before = finished()
    weights = Path("runs/toy/stages/one/weights.txt")
    content = weights.read_bytes()
    weights.write_bytes(content[:-2] + b"8\n")
    with pytest.raises(
        CheckpointError, match=r"stages/one/weights.txt: not the bytes that stage 'one' wrote; delete"
    ):
        run(start_from="two")
    weights.write_bytes(content)
    assert ran_again(before) == set()
    for damage in ("{", '{"stage": 1}', "[]"):
        Path("runs/toy/stages/all/artifact.json").write_text(damage)
        with pytest.raises(CheckpointError, match=r"stages/all/artifact.json: damaged .*delete the folder"):
            run()


def test_folders_that_cannot_be_used() -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    with pytest.raises(RunError, match="mine: holds files but no run; choose a new or empty folder"):
        run(out="mine")
    with pytest.raises(RunError, match=r"words.txt: is a file"):
        run(out="words.txt")
    with pytest.raises(XinglinError, match="unknown key"):
        run("stages.one.stepz=1")
    assert sorted(path.name for path in Path().iterdir()) == ["mine", "toy.yaml", "words.txt"]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line with toy stages in a process group of its own, as a terminal does."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "toy_cli.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise TimeoutError


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def counted(stage: str) -> int:
    path = Path(f"runs/toy/work/{stage}/scratch/counted.txt")
    try:
        return path.read_text().count("\n")
    except FileNotFoundError:
        return 0


def expected(steps: int) -> list[str]:
    return [str(17 + step) for step in range(steps)]


def weights(stage: str) -> list[str]:
    return Path(f"runs/toy/stages/{stage}/weights.txt").read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["pipeline", "stage", "forkserver"])
def test_killed_at_random_moments_ends_like_an_uninterrupted_run(start: Any, victim: str) -> None:
    rng = random.Random(victim)
    interrupted = 0
    slowly = ("--set", "stages.two.pause_seconds=0.08")
    for _ in range(5):
        process = start("run", "toy.yaml", *slowly)
        try:
            _, errors = process.communicate(timeout=rng.uniform(0.3, 1.1))
            assert process.returncode == 0, errors
        except subprocess.TimeoutExpired:
            family = psutil.Process(process.pid).children(recursive=True)
            chosen = {"pipeline": process.pid, "forkserver": family[0].pid if family else process.pid}
            os.kill(chosen.get(victim, family[-1].pid if family else process.pid), signal.SIGKILL)
            interrupted += 1
            _, errors = process.communicate(timeout=20)
            assert "Traceback" not in errors
            wait_for(lambda family=family: not any(map(runs, family)), seconds=5)
        assert set(finished()) <= set(STAGES)
    final = start("run", "toy.yaml", "--json", *slowly)
    output, errors = final.communicate(timeout=60)
    assert final.returncode == 0, errors
    assert [stage["status"] for stage in json.loads(output)["stages"]] == ["finished"] * 4
    assert interrupted >= 3
    assert weights("two") == expected(30)
    assert finished().keys() == set(STAGES)
    assert not list(Path("runs/toy/work").iterdir())


def test_a_write_that_was_killed_leaves_nothing_in_the_artifact(start: Any) -> None:
    process = start("run", "toy.yaml")
    wait_for(lambda: counted("two") > 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    (Path("runs/toy/work/two/out") / ".artifact.json.tmp").write_text('{"stage":')
    again = start("run", "toy.yaml")
    _, errors = again.communicate(timeout=20)
    assert again.returncode == 0, errors
    assert finished().keys() == set(STAGES)
    assert ".artifact.json.tmp" not in Artifact.load(Path("runs/toy/stages/two")).files


@pytest.mark.parametrize("to", ["group", "pipeline"])
def test_ctrl_c_and_sigterm_save_and_the_same_command_goes_on(start: Any, to: str) -> None:
    process = start("run", "toy.yaml")
    wait_for(lambda: counted("two") > 3)
    os.killpg(process.pid, signal.SIGINT) if to == "group" else process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; what is done is kept. To go on: xinglin run toy.yaml" in errors
    assert "Traceback" not in errors
    done = counted("two")
    assert 3 < done < 30
    again = start("run", "toy.yaml")
    output, errors = again.communicate(timeout=20)
    assert again.returncode == 0, errors
    assert "one: cached" in output and "two: resume (was interrupted)" in output
    two = Artifact.load(Path("runs/toy/stages/two"))
    assert two.details["attempt_started_at"] == done
    assert two.seconds > 0.6, "the seconds of both attempts count"
    assert weights("two") == expected(30)


def test_a_second_ctrl_c_kills(start: Any) -> None:
    process = start("run", "toy.yaml", "--set", "stages.two.pause_seconds=30")
    wait_for(Path("runs/toy/work/two/scratch/counted.txt").exists)
    os.killpg(process.pid, signal.SIGINT)
    wait_for(lambda: "stopping" in process.stderr.readline())
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130
    assert finished().keys() == {"words", "one"}


def test_two_runs_in_one_folder(start: Any) -> None:
    first = start("run", "toy.yaml", "--set", "stages.two.steps=100")
    wait_for(lambda: counted("two"))
    second = start("run", "toy.yaml", "--set", "stages.one.steps=2")
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 2
    assert f"error: runs/toy: in use by process {first.pid} on " in errors
    _, errors = first.communicate(timeout=20)
    assert first.returncode == 0, errors
    assert weights("one") == expected(4)


def test_exit_codes_and_messages_of_the_command_line(start: Any) -> None:
    recipe = RECIPE + "  broken: {kind: fail, how: user}\n"
    Path("toy.yaml").write_text(recipe, encoding="utf-8")
    user = start("run", "toy.yaml")
    assert (user.communicate()[1], user.returncode) == (
        "error: stage 'broken': words.txt:3: no word; delete the line\n",
        2,
    )
    bug = start("run", "toy.yaml", "--set", "stages.broken.how=bug")
    errors = bug.communicate()[1]
    assert bug.returncode == 1
    assert "ZeroDivisionError: a bug" in errors and "To go on: xinglin run toy.yaml --set" in errors
    wrong = start("run", "toy.yaml", "--set", "stages.one.stepz=bug", "--json")
    assert (wrong.communicate(), wrong.returncode) == (
        ("", "error: --set: stages.one.stepz: unknown key; did you mean 'steps'?\n"),
        2,
    )


def test_dry_run_prints_the_plan_and_touches_nothing(start: Any) -> None:
    process = start("run", "toy.yaml", "--dry-run", "--json")
    plan = json.loads(process.communicate()[0])
    assert [(row["stage"], row["state"], row["details"]) for row in plan["stages"]] == [
        ("words", "run", {}),
        ("one", "run", {"steps": "4"}),
        ("two", "run", {"steps": "30"}),
        ("all", "run", {}),
    ]
    assert not Path("runs").exists()
    run(only="words")
    process = start("run", "toy.yaml", "--dry-run")
    output = process.communicate()[0]
    assert "steps: 4" in output and "cached" in output and "data: stage:words" in output


def test_the_pipeline_process_never_loads_torch() -> None:
    code = (
        "import sys; from xinglin import pipeline; pipeline.run('toy.yaml', package='toy_stages'); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(HERE)})
    assert done.returncode == 0
