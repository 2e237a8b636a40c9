"""Interrupted = uninterrupted: kill -9 at 20 random moments over the whole pipeline, then bit-identical weights."""

import random
import signal
import time

import pytest
from whole_runs import kill, weights

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_twenty_times_equals_never(command, tmp_path):
    started = time.monotonic()
    command.run(tmp_path / "straight")
    duration = time.monotonic() - started
    expected = weights(tmp_path / "straight")
    assert {
        "pretrain/model.safetensors",
        "dpo/adapter_model.safetensors",
        "merge/model.safetensors",
    } <= expected.keys()

    moments = random.Random(2024)
    interrupted = 0
    for number in range(KILLS):
        process = command.start(tmp_path / "killed")
        time.sleep(moments.uniform(0.2, 0.6 * duration))
        interrupted += process.poll() is None
        if process.poll() is None:
            kill(process, whom=("all", "pipeline", "stage")[number % 3])
        else:
            process.communicate()
            for stage in (tmp_path / "killed" / "stages").iterdir():
                (stage / "artifact.json").unlink()
    command.run(tmp_path / "killed")
    assert interrupted >= KILLS // 2
    assert weights(tmp_path / "killed") == expected


@pytest.mark.slow
def test_terminated_politely_it_saves_and_says_how_to_go_on(command, tmp_path):
    process = command.start(tmp_path / "run")
    while not list((tmp_path / "run").glob("work/sft/scratch/checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: xinglin run" in printed
    printed = command.run(tmp_path / "run")
    assert "pretrain: cached" in printed and "resuming at step" in printed
    command.run(tmp_path / "straight")
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")
