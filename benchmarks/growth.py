"""Time and memory of ``xinglin data check`` and of a whole data stage as the data grow.

    python benchmarks/growth.py [--mib 16 64 256] [--row-bytes 12000] [--forms jsonl json] [--tasks check stage]
                                [--folder FOLDER]

The rows are made up (``rows.py``), one in 50 is a copy. Each command runs as a user would run it, with a process per
core; time is that of it and its children, start included. Memory is the most that all of them together held at one
time, looked up five times a second: without counting twice what they share (PSS), and as the sum of what each holds
(RSS). Linux only.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from rows import write_rows

from xinglin.runtime.environment import library_variables

RECIPE = """\
model: tiny:qwen3:64x2
stages:
  data:
    kind: data
    clean: standard
    deidentify: {{mode: replace}}
    duplicates: {{mode: remove}}
    leaks: {{mode: remove}}
    splits:
      train:
        sources: [{{path: {rows}}}]
        hold_out: {{dev: 0.001}}
"""
XINGLIN = (sys.executable, "-m", "xinglin")


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float
    pss: int
    rss: int
    """MiB."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--row-bytes", type=int, default=12_000)
    parser.add_argument("--forms", nargs="+", choices=("jsonl", "json"), default=["jsonl", "json"])
    parser.add_argument("--tasks", nargs="+", choices=("check", "stage"), default=["check", "stage"])
    parser.add_argument("--folder", type=Path, help="for files that are deleted afterwards")
    arguments = parser.parse_args()
    print(f"{'':16}{'MiB':>6}{'rows':>10}{'s':>8}{'CPU-s':>8}{'MB/CPU-s':>10}{'PSS MiB':>9}{'RSS MiB':>9}")
    for form in arguments.forms:
        for mib in arguments.mib:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                path = Path(name) / f"rows.{form}"
                rows = write_rows(path, mib << 20, row_bytes=arguments.row_bytes)
                size = path.stat().st_size
                for task in arguments.tasks:
                    cost = watch(command(task, path), Path(name))
                    speed = size / 1e6 / cost.cpu_seconds
                    print(
                        f"{task + ', ' + form:16}{mib:6,}{rows:10,}{cost.seconds:8.0f}{cost.cpu_seconds:8.0f}"
                        f"{speed:10.1f}{cost.pss:9,}{cost.rss:9,}",
                        flush=True,
                    )


def command(task: str, path: Path) -> list[str]:
    if task == "check":
        return [*XINGLIN, "data", "check", str(path), "--json"]
    recipe = path.with_name("recipe.yaml")
    recipe.write_text(RECIPE.format(rows=path), encoding="utf-8")
    return [*XINGLIN, "run", str(recipe)]


def watch(command: list[str], folder: Path) -> Cost:
    """Run ``command`` to its end with everything that it writes below ``folder``."""
    own = {"TMPDIR": str(folder), "XINGLIN_DEIDENTIFY_KEY": "benchmark" * 4}
    variables = dict(os.environ) | library_variables(offline=True) | own
    before, began, pss, rss = _spent(), time.monotonic(), 0, 0
    with (folder / "output.log").open("wb") as output:
        running = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=output)
        root = psutil.Process(running.pid)
        while running.poll() is None:
            held = _held(root)
            pss, rss = max(pss, held[0]), max(rss, held[1])
            time.sleep(0.2)
    if running.returncode:
        raise SystemExit((folder / "output.log").read_text()[-4000:])
    return Cost(time.monotonic() - began, _spent() - before, pss // 1024, rss // 1024)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _held(root: psutil.Process) -> tuple[int, int]:
    """KiB of the process and its children: proportional and resident set sizes."""
    sizes = [0, 0]
    with suppress(psutil.NoSuchProcess, OSError, IndexError):  # one has just ended
        for process in [root, *root.children(recursive=True)]:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            for place, name in enumerate(("Pss:", "Rss:")):
                sizes[place] += int(rollup.split(f"\n{name}")[1].split()[0])
    return sizes[0], sizes[1]


if __name__ == "__main__":
    main()
