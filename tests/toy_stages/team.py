"""A stage that several processes run together: each leaves its rank, waits for the others, and may fail."""

import os
import signal
import time
from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.base import StageConfig
from xinglin.errors import DataError, Interrupted
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "evaluation"
DISTRIBUTED = True


class Config(StageConfig):
    fails: Annotated[int, Field(ge=-1)] = -1
    """The process that fails."""
    how: Literal["user", "bug", "kill", "wait"] = "user"
    """In which way; ``wait``: all of them wait until they are asked to stop."""


def run(config: Config, run: StageRun) -> Outcome:
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    print(f"process {rank} of {processes} meets at {os.environ['MASTER_ADDR']}")
    (run.scratch / f"rank-{rank}").write_text(str(os.getpid()))
    if config.fails == rank:
        _fail(config.how)
    while config.how == "wait" or len(list(run.scratch.glob("rank-*"))) < processes or config.fails >= 0:
        if run.stop_requested():
            raise Interrupted
        time.sleep(0.01)
    if rank == 0:
        (run.out / "ranks.txt").write_text(" ".join(sorted(path.name for path in run.scratch.glob("rank-*"))))
    return Outcome("evaluation", details={"models": [], "comparisons": [], "samples": []})


def _fail(how: str) -> None:
    match how:
        case "user":
            raise DataError("words.txt:3: no word; delete the line")
        case "bug":
            raise ZeroDivisionError("a bug")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
