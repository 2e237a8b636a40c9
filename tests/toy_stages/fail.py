"""Fail in every way that a stage can."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Literal

from xinglin.config.base import StageConfig
from xinglin.data.containers import UnreadableFile
from xinglin.errors import DataError
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "evaluation"


class Config(StageConfig):
    how: Literal["bug", "user", "file", "kill", "segfault", "disk", "never"]
    """The way."""


def run(config: Config, run: StageRun) -> Outcome:
    match config.how:
        case "bug":
            raise ZeroDivisionError("a bug")
        case "user":
            raise DataError("words.txt:3: no word; delete the line")
        case "file":
            raise UnreadableFile("not_text", "words.txt: not a text file")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "disk":
            with Path("/dev/full").open("w") as full:
                full.write("x")
    return Outcome("evaluation", details={"models": [], "comparisons": [], "samples": []})
