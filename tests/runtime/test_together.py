"""Several processes of one run: the first leads, the others join what is shared, and no one waits for the dead."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from xinglin.errors import RunError
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.environment import Launch, launch, library_variables

TESTS = Path(__file__).parent.parent
RECIPE = """\
name: toy
model: tiny:qwen3
stages:
  words: {kind: words, files: [words.txt]}
  team: {kind: team}
  one: {kind: count, steps: 4}
  again: {kind: team}
"""

Start = Callable[..., list[subprocess.Popen[str]]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("some words", encoding="utf-8")
    Path("toy.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    """What ``torchrun --nproc-per-node 3`` does, without its import of torch."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, processes: int = 3) -> list[subprocess.Popen[str]]:
        for rank in range(processes):
            place = Launch(rank, processes, rank, processes, "127.0.0.1").variables(port=29500)
            command = [sys.executable, str(TESTS / "toy_cli.py"), "run", "toy.yaml", *arguments]
            started.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                    env={**os.environ, **place, "PYTHONPATH": str(TESTS)},
                )
            )
        return started

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_the_first_leads_and_the_others_join_what_is_shared(start: Start) -> None:
    Path("runs/toy").mkdir(parents=True)
    Path("runs/toy/.lock").touch()
    Path("runs/toy/.meeting").write_text(
        f'{{"port": 9, "token": "{secrets.token_hex(16)}"}}'
    )  # of a killed run
    ends = [process.communicate(timeout=60) for process in start()]
    assert [process.returncode for process in start(processes=0)] == [0, 0, 0], ends
    assert "team: done" in ends[0][0] and "process 0 of 3 meets at 127.0.0.1" in ends[0][0]
    assert ends[1:] == [("", "")] * 2, "followers print nothing"
    for name in ("team", "again"):
        artifact = Artifact.load(Path("runs/toy/stages") / name)
        artifact.verify()
        assert (artifact.folder / "ranks.txt").read_text() == "rank-0 rank-1 rank-2"
    assert not Path("runs/toy/.meeting").exists()
    again = start("--only", "again", processes=3)[3:]
    assert "again: cached" in again[0].communicate(timeout=30)[0]
    assert [process.wait(timeout=30) for process in again] == [0, 0, 0]


FAILURES = {
    "user": (2, "error: stage 'team' in process 1: words.txt:3: no word; delete the line\n"),
    "bug": (
        1,
        "ZeroDivisionError: a bug\nstage 'team' in process 1: stopped by the bug above (exit code 1)\n",
    ),
    "kill": (1, "error: stage 'team' in process 1: killed by SIGKILL (out of memory?)\n"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_of_one_ends_all_and_is_told_once(start: Start, how: str) -> None:
    code, message = FAILURES[how]
    ends = [
        process.communicate(timeout=30)
        for process in start("--set", "stages.team.fails=1", "--set", f"stages.team.how={how}")
    ]
    assert message in ends[0][1]
    assert [process.returncode for process in start(processes=0)] == [code, 0, 0]
    assert ends[1:] == [("", "")] * 2
    assert not Path("runs/toy/stages/team").exists()


def test_asked_to_stop_it_stops_everywhere(start: Start) -> None:
    leader, *followers = start("--set", "stages.team.how=wait")
    wait_for(lambda: len(list(Path("runs/toy/work/team/scratch").glob("rank-*"))) == 3)
    leader.send_signal(signal.SIGTERM)
    errors = leader.communicate(timeout=30)[1]
    assert leader.returncode == 130 and "interrupted; what is done is kept" in errors
    assert [process.wait(timeout=10) for process in followers] == [0, 0]


def test_without_the_first_the_others_end(start: Start) -> None:
    leader, *followers = start("--set", "stages.team.how=wait")
    scratch = Path("runs/toy/work/team/scratch")
    wait_for(lambda: len(list(scratch.glob("rank-*"))) == 3)
    workers = [int(path.read_text()) for path in scratch.glob("rank-*")]
    leader.kill()
    assert [process.wait(timeout=10) for process in followers] == [1, 1]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def test_the_place_of_a_process() -> None:
    assert launch({}) == launch({"WORLD_SIZE": "1", "RANK": "0"}) == Launch()
    place = Launch(3, 4, 1, 2, "node-1")
    assert launch(place.variables(port=5)) == place
    with pytest.raises(
        RunError, match=r"WORLD_SIZE is 2, but RANK, LOCAL_RANK, .* are not set; start with torchrun"
    ):
        launch({"WORLD_SIZE": "2"})


def test_a_stage_knows_of_other_processes_from_its_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    found = library_variables(offline=False)
    assert not {"WORLD_SIZE", "ACCELERATE_MIXED_PRECISION"} & found.keys() and "PATH" in found


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
