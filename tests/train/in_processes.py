"""Run training stages in several processes at once, as ``torchrun`` starts them; the test reads the folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

from xinglin.runtime.environment import Launch
from xinglin.runtime.together import _free_port

TESTS = Path(__file__).parent.parent


def run_in_processes(jobs, *, processes=2, timeout=240):
    """Run ``jobs`` one after another, in all processes: {"folder", "check": a function of process_checks.py}, or
    {"folder", "kind", "settings", "name"} for a stage, and with "stop_rank" and "stop_after" for one that is
    interrupted when this process asks for the nth time whether to stop.

    Returns what each process said, per job: the outcome's ``train`` details, or that it was interrupted.
    """
    port = _free_port()
    started = []
    for rank in range(processes):
        place = Launch(rank, processes, rank, processes, "127.0.0.1").variables(port=port)
        started.append(
            subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **place, "OMP_NUM_THREADS": "1"},
            )
        )
    for process in started:
        process.stdin.write(json.dumps(jobs))
        process.stdin.close()
        process.stdin = None
    try:
        ends = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert [process.returncode for process in started] == [0] * processes, "\n".join(end[1] for end in ends)
    return [
        [json.loads(line[7:]) for line in out.splitlines() if line.startswith("RESULT ")] for out, _ in ends
    ]


def main():
    sys.path.insert(0, str(TESTS / "stages"))
    import process_checks
    from stage_toys import Stages

    from xinglin.errors import Interrupted
    from xinglin.runtime.artifact import Artifact
    from xinglin.train.processes import open_accelerator

    open_accelerator("fp32")
    rank = int(os.environ["RANK"])
    for job in json.loads(sys.stdin.read()):
        folder = Path(job["folder"])
        if "check" in job:
            getattr(process_checks, job["check"])(folder)
            print("RESULT", json.dumps("checked"), flush=True)
            continue
        stages = Stages(folder)
        stages.made["data"] = Artifact.load(folder / "data")
        stop = job.get("stop_after") if job.get("stop_rank") == rank else None
        try:
            made = stages.run(job["kind"], job["settings"], name=job["name"], stop_after=stop)
            print("RESULT", json.dumps(made.details["train"]), flush=True)
        except Interrupted as error:
            print("RESULT", json.dumps(f"interrupted: {error}"), flush=True)
    import torch.distributed as dist

    dist.destroy_process_group()


if __name__ == "__main__":
    main()
