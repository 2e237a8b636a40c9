"""Whole runs through the installed command, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SMALL = """
name: small
seed: 5
model: tiny:qwen3:64x2
stages:
  data:
    kind: data
    vocabulary: 600
    max_tokens: 128
    splits:
      documents: {sources: [{path: "sample:documents", max_rows: 60}]}
      train:     {sources: [{path: "sample:dialogues", max_rows: 160}], hold_out: {dev: 0.1}}
      pairs:     {sources: [{path: "sample:preferences", max_rows: 40}]}
      exam:      {sources: [{path: "sample:exam", max_rows: 24}], held_out: true}
      safety:    {sources: [{path: "sample:safety", max_rows: 12}], held_out: true}
  pretrain:
    kind: pretrain
    split: documents
    max_tokens: 128
    tuning: full
    epochs: 2
    batch_size: 8
    save_every_steps: 5
  sft:
    kind: sft
    eval_split: dev
    max_tokens: 128
    tuning: lora
    lora: {dropout: 0.1}
    epochs: 2
    batch_size: 8
    save_every_steps: 5
    keep_best: true
  evaluate_sft:
    kind: evaluate
    models: [base, stage:sft]
    benchmarks: [{name: exam, split: exam}, {name: dialogue, split: dev, max_new_tokens: 12}]
  dpo: {kind: dpo, split: pairs, max_tokens: 128, lora: {dropout: 0.1}, batch_size: 4, save_every_steps: 3}
  merge: {kind: merge}
  evaluate_merge:
    kind: evaluate
    models: [stage:sft, stage:merge]
    benchmarks: [{name: exam, split: exam}, {name: safety, split: safety, max_new_tokens: 12}]
"""


class Command:
    """``xinglin run`` on one recipe and one run folder."""

    def __init__(self, folder: Path):
        self.recipe = folder / "small.yaml"
        self.recipe.write_text(SMALL, encoding="utf-8")

    def start(self, out: Path, *arguments: str) -> subprocess.Popen[str]:
        xinglin = [sys.executable, "-c", "from xinglin.cli.main import main; main()"]
        return subprocess.Popen(
            [*xinglin, "run", str(self.recipe), "--out", str(out), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, out: Path, *arguments: str) -> str:
        """To the end; returns what it printed."""
        process = self.start(out, *arguments)
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0, printed
        return printed


def weights(out: Path) -> dict[str, str]:
    """Hash of every weight file of a finished run, as its artifacts record them."""
    found = {}
    for artifact in sorted((out / "stages").glob("*/artifact.json")):
        files = json.loads(artifact.read_text(encoding="utf-8"))["files"]
        for name, seen in files.items():
            if name.endswith(".safetensors"):
                found[f"{artifact.parent.name}/{name}"] = seen["sha256"]
    return found


def kill(process: subprocess.Popen[str], *, whom: str) -> None:
    """SIGKILL to the pipeline alone, to its newest descendant alone (the stage), or to everything at once."""
    import psutil

    if whom == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif whom == "pipeline":
        process.kill()
    else:
        children = psutil.Process(process.pid).children(recursive=True)
        newest = max(children, key=lambda child: child.create_time(), default=None)
        (newest or process).kill()
    process.communicate(timeout=60)
    time.sleep(0.2)
