"""torchrun and accelerate start a whole recipe: one run, shared training, and what one process makes, they make."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

RECIPE = """\
name: together
model: tiny:qwen3:64x2
stages:
  data:
    kind: data
    vocabulary: 600
    max_tokens: 256
    splits:
      documents: {sources: [{path: "sample:documents", max_rows: 60}]}
      train: {sources: [{path: "sample:dialogues", max_rows: 60}], hold_out: {dev: 0.1}}
      exam: {sources: [{path: "sample:exam", max_rows: 6}], held_out: true}
  pretrain: {kind: pretrain, split: documents, max_tokens: 256, tuning: full, batch_size: 8, epochs: 2}
  sft: {kind: sft, eval_split: dev, max_tokens: 256, batch_size: 8, epochs: 2, save_every_steps: 5}
  exam: {kind: evaluate, models: [stage:sft], benchmarks: [{name: exam, split: exam}]}
"""
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    "accelerate": [
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ],
}


@pytest.fixture
def start(tmp_path):
    """``start("torchrun", out, …)`` runs the recipe in two processes, ``start(None, out)`` in one."""
    (tmp_path / "together.yaml").write_text(RECIPE, encoding="utf-8")
    started = []

    def begin(launcher, out, *arguments):
        launch = ["-m", *LAUNCHERS[launcher]] if launcher else []
        command = [
            sys.executable,
            *launch,
            "-m",
            "xinglin",
            "run",
            str(tmp_path / "together.yaml"),
            "--out",
            str(out),
        ]
        started.append(
            subprocess.Popen(
                [*command, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.terminate()
        process.communicate()


def finish(process):
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0, printed
    return printed


def weights(out: Path):
    return {
        f"{path.parent.name}: {name}": tensor
        for path in sorted(out.glob("stages/*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_same_weights(out: Path, expected: Path):
    found, known = weights(out), weights(expected)
    assert found.keys() == known.keys() and len(known) > 20
    for name, tensor in known.items():
        distance = torch.linalg.vector_norm(found[name] - tensor) / torch.linalg.vector_norm(tensor)
        assert distance < 1e-3, name


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "sharding"), [("torchrun", "full"), ("accelerate", "none")])
def test_a_recipe_in_two_processes(start, tmp_path, launcher, sharding):
    printed = finish(start(launcher, tmp_path / "two", "--set", f"stages.sft.sharding={sharding}"))
    assert printed.count("sft: done in") == printed.count("talk to it") == 1
    artifact = json.loads((tmp_path / "two/stages/sft/artifact.json").read_text())
    assert artifact["details"]["train"]["processes"] == 2
    assert artifact["details"]["train"]["sharding"] == sharding
    finish(start(None, tmp_path / "one"))
    assert_same_weights(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_terminated_politely_it_goes_on_with_one_process(start, tmp_path):
    process = start("torchrun", tmp_path / "two", "--set", "stages.sft.epochs=20")
    while not list((tmp_path / "two").glob("work/sft/scratch/checkpoints/step-*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "interrupted; what is done is kept. To go on: the same command" in printed
    printed = finish(start(None, tmp_path / "two", "--set", "stages.sft.epochs=20"))
    assert "pretrain: cached" in printed and "resuming at step" in printed
