"""One run per folder. The operating system drops the lock when the last process of a run is gone."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xinglin.errors import RunError

ORPHANS_SECONDS = 30.0
"""How long a new run waits for the stages of a killed one to end."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock file ``path`` and yield its descriptor, which child processes may inherit.

    The lock belongs to the open file, not to the process: while a child that inherited the descriptor lives, the
    folder stays locked even if its parent was killed.

    Raises:
        RunError: another run holds it; the message names process, host and start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(descriptor, path)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + ORPHANS_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(path)
            if not _is_gone(holder) or time.monotonic() > deadline:
                who = (
                    "process {pid} on {host} since {since}".format(**holder) if holder else "another process"
                )
                raise RunError(
                    f"{path.parent}: in use by {who}; wait for it or choose another folder with --out"
                ) from None
            time.sleep(0.05)


def _holder(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _is_gone(holder: dict[str, Any] | None) -> bool:
    """Whether the run that wrote ``holder`` was killed, so that only its children can hold the lock."""
    if holder is None or holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
