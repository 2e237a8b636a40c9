"""Useful tokens per CPU-second and peak memory of training, beside TRL and LLaMA-Factory, in one run.

    python benchmarks/training.py sft|reward|dpo|grpo|ppo|prepare [--size 8m|60m] [--rows N] [--repeats N]
                                  [--llamafactory PYTHON] [--trl112 PYTHON]

All contenders (``contenders/``) get the same random Qwen3, the same rows, tokens and labels, as many rows per optimizer
step, bf16 autocast and one thread; each in the settings that are best for it here among those that keep documents
apart. Each runs in a process of its own; they take turns, and the best of ``--repeats`` runs counts. A useful token is
one that is not padding, counted from the data, alike for all. ``prepare`` is the way from the file of rows to the first
batch. TRL is the one in this environment; the others need the Python of theirs (docs/performance.md says how to make
them), and are left out without.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prepared import Prepared, prepare

from xinglin.runtime.environment import library_variables

FOLDER = Path(__file__).parent / "contenders"
TRL, TRL_PPO, FACTORY = "TRL 1.16", "TRL 1.12", "LLaMA-Factory 0.9.5"
CONTENDERS = {
    "sft": [(TRL, "padding-free"), (FACTORY, "packed")],
    "reward": [(TRL, "one-by-one"), (FACTORY, "one-by-one")],
    "dpo": [(TRL, "one-by-one"), (FACTORY, "one-by-one")],
    "grpo": [(TRL, "generate")],
    "ppo": [(TRL_PPO, "8")],
    "prepare": [(TRL, "padded"), (FACTORY, "padded")],
}
"""Task -> peer and the setting that was the fastest of those its script knows."""
SCRIPTS = {
    "xinglin": "ours.py",
    TRL: "with_trl.py",
    TRL_PPO: "with_trl_ppo.py",
    FACTORY: "with_llamafactory.py",
}
ROWS = {
    "8m": {"sft": 200, "reward": 48, "dpo": 48, "grpo": 16, "ppo": 64, "prepare": 8000},
    "60m": {"sft": 96, "reward": 16, "dpo": 16, "grpo": 8, "ppo": 32, "prepare": 8000},
}
OURS = ("xinglin", "2048")


@dataclass
class Best:
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=CONTENDERS)
    parser.add_argument("--size", choices=("8m", "60m"), default="8m")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--llamafactory", metavar="PYTHON", help="of LLaMA-Factory's environment")
    parser.add_argument("--trl112", metavar="PYTHON", help="of TRL 1.12's environment, for its PPO")
    arguments = parser.parse_args()
    pythons = {
        "xinglin": sys.executable,
        TRL: sys.executable,
        FACTORY: arguments.llamafactory,
        TRL_PPO: arguments.trl112,
    }
    rows = arguments.rows or ROWS[arguments.size][arguments.task]
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder), arguments.task, size=arguments.size, rows=rows)
        print(f"{arguments.task}, {arguments.size}: {prepared.rows} rows of {prepared.source}")
        print(f"{prepared.tokens:,} useful tokens\n")
        contenders = [OURS, *(each for each in CONTENDERS[arguments.task] if pythons[each[0]])]
        report(measure(Path(folder), contenders, pythons, arguments.repeats), prepared)
    for name in dict.fromkeys(name for name, _ in CONTENDERS[arguments.task] if not pythons[name]):
        print(f"{name}: not measured, since the Python of its environment was not given")


def measure(
    folder: Path, contenders: list[tuple[str, str]], pythons: dict[str, str], repeats: int
) -> dict[tuple[str, str], Best]:
    """The best run of each; they take turns, so that a busy machine hurts all alike."""
    best: dict[tuple[str, str], Best] = {}
    for turn in range(repeats):
        for name, setting in contenders:
            script = FOLDER / SCRIPTS[name]
            cache = folder / f"cache-{turn}-{script.stem}-{setting}"
            done = subprocess.run(
                [pythons[name], str(script), str(folder), setting],
                capture_output=True,
                text=True,
                env=environment(name, cache),
            )
            if done.returncode:
                raise SystemExit(f"{name} ({setting}) failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
            result = Best(**json.loads(done.stdout.splitlines()[-1]))
            print(f"  {name}, {setting}: {result.cpu_seconds:.1f} CPU-seconds", flush=True)
            before = best.setdefault((name, setting), result)
            if result.cpu_seconds < before.cpu_seconds:
                best[name, setting] = result
    return best


def environment(name: str, cache: Path) -> dict[str, str]:
    """Ours for ours; the peers have their own defaults, but a cache that is empty, and no network."""
    variables = library_variables(offline=True) if name == "xinglin" else dict(os.environ)
    return variables | {
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(cache),
        "TQDM_DISABLE": "1",
        "DISABLE_VERSION_CHECK": "1",
    }


def report(results: dict[tuple[str, str], Best], prepared: Prepared) -> None:
    ours = results[OURS]
    print(f"\n{'':36}{'tokens/CPU-s':>13}{'xinglin is':>12}{'peak MiB':>10}")
    for (name, setting), result in results.items():
        speed = prepared.tokens / result.cpu_seconds
        ratio = result.cpu_seconds / ours.cpu_seconds
        title = name if name == "xinglin" else f"{name}, {setting}"
        print(f"{title:36}{speed:13,.0f}{ratio:11.2f}x{result.peak_mib:10,.0f}")


if __name__ == "__main__":
    main()
