"""One stage in a process of its own: run it, make the artifact, or leave the reason behind."""

import contextlib
import faulthandler
import json
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xinglin import plugins
from xinglin.errors import Interrupted, XinglinError
from xinglin.runtime.artifact import FILE, Artifact
from xinglin.runtime.atomic import remove_unfinished, sync_tree, write_text
from xinglin.runtime.directory import RunFolder, WorkFolder, disk_full_explained, hash_files
from xinglin.runtime.environment import describe_environment, launch
from xinglin.runtime.logging import Log
from xinglin.runtime.progress import interrupt_when
from xinglin.runtime.stage_run import Outcome, StageRun

SAVE_SECONDS_EVERY = 1.0

Tell = Callable[[dict[str, Any]], None]
"""Sends a message to the pipeline."""


@dataclass(frozen=True)
class Job:
    """What a worker is told, as plain data."""

    folder: str
    package: str
    kind: str
    name: str
    fingerprint: str
    config: dict[str, Any]
    seed: int
    base: str
    fields: dict[str, str]
    """Config field -> what it was resolved to, for the record."""
    artifacts: dict[str, str]
    """Reference -> folder of a finished artifact."""
    models: dict[str, str]
    """Reference -> folder or id of a model that is no artifact."""
    python_path: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    """Of a stage that several processes run together: their number, and which this one is."""


def work(row: dict[str, Any], *, log: Log, tell: Tell, stop_requested: Callable[[], bool]) -> int:
    """Run the job in ``row`` and return the exit code of this process.

    0: ``out`` is a complete artifact on disk, made by the first process if several run the stage. 130: interrupted,
    everything is saved. 2 and 1: an error of the user or a bug; ``tell`` gets ``{"error": class, "message": text}``
    and ``error.txt`` the same, unless the disk is full.
    """
    job = Job(**row)
    folder = RunFolder(Path(job.folder))
    place = launch(job.environment)
    rank = place.rank
    attempt = folder.work(job.name, rank=rank)
    if rank == 0:
        log.open(folder.log)
    clock = _Clock(attempt)
    _die_with_parent(clock)
    sys.path[:] = job.python_path
    os.environ.update(job.environment)
    if place.processes == 1:  # several stop together, where their loop does
        interrupt_when(stop_requested)
    code, name, message = 0, "", ""
    try:
        with disk_full_explained(folder.path), attempt.error.open("w", encoding="utf-8") as crash:
            faulthandler.enable(crash)
            outcome = _run(job, folder, attempt, stop_requested)
            if rank == 0:
                _finish(job, outcome, attempt, clock)
    except Interrupted:
        code = Interrupted.exit_code
    except XinglinError as error:
        code, name, message = error.exit_code, _public(error), str(error)
    except BaseException as error:
        code, name, message = 1, type(error).__name__, traceback.format_exc()
    faulthandler.disable()
    clock.save()
    with contextlib.suppress(OSError):
        attempt.error.write_text(message, encoding="utf-8") if message else attempt.error.unlink()
    if message:
        tell({"error": name, "message": message})
    log.close()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _public(error: XinglinError) -> str:
    """The name of its class in errors.py, or of the nearest one above it there: the parent process knows no other."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == XinglinError.__module__)


def _run(job: Job, folder: RunFolder, attempt: WorkFolder, stop_requested: Callable[[], bool]) -> Outcome:
    module = plugins.load(job.package, job.kind)
    inputs: dict[str, Artifact | str] = dict(job.models)
    for reference, path in job.artifacts.items():
        artifact = Artifact.load(Path(path))
        if attempt.rank == 0:
            artifact.verify()
        inputs[reference] = artifact
    run = StageRun(
        name=job.name,
        seed=job.seed,
        out=attempt.out,
        final=folder.stage(job.name),
        scratch=attempt.scratch,
        cache=folder.cache,
        base=job.base,
        inputs=inputs,
        stop_requested=stop_requested,
    )
    return module.run(module.Config.model_validate_json(json.dumps(job.config)), run)


def _finish(job: Job, outcome: Outcome, attempt: WorkFolder, clock: "_Clock") -> None:
    """Make ``out`` a complete artifact: all bytes on disk first, ``artifact.json`` last."""
    (attempt.out / FILE).unlink(missing_ok=True)
    remove_unfinished(attempt.out)  # else it would be listed as a file of the artifact
    sync_tree(attempt.out)
    artifact = Artifact(
        folder=attempt.out,
        stage=job.name,
        kind=outcome.kind,
        stage_kind=job.kind,
        fingerprint=job.fingerprint,
        inputs=job.fields,
        config=job.config,
        metrics=outcome.metrics,
        details=outcome.details,
        environment=describe_environment(),
        seconds=round(clock.seconds(), 3),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        files=hash_files(attempt.out),
    )
    write_text(attempt.out / FILE, json.dumps(artifact.to_json(), ensure_ascii=False, indent=2) + "\n")


class _Clock:
    """Seconds that a stage took over all attempts; saved now and then, so that a kill costs little of it."""

    def __init__(self, attempt: WorkFolder):
        self._file = attempt.seconds
        self._before = attempt.seconds_spent()
        self._started = time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def save(self) -> None:
        aside = self._file.with_name("seconds.tmp")
        with contextlib.suppress(OSError):  # a full disk is the stage's to report
            aside.write_text(f"{self.seconds():.3f}", encoding="utf-8")
            aside.replace(self._file)


def _die_with_parent(clock: _Clock) -> None:
    """End this process at once when the pipeline is gone, even by ``kill -9``.

    Standard input is a pipe whose other end only the pipeline holds, so it hangs up exactly then. Without the
    forkserver nobody could learn how the stage ended, so that ends it too, a moment later.
    """
    forkserver = os.getppid()

    def watch() -> None:
        poll = select.poll()
        poll.register(0, 0)
        while not poll.poll(SAVE_SECONDS_EVERY * 1000) and os.getppid() == forkserver:
            clock.save()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
