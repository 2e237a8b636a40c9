"""Runs each stage in a process of its own, on this machine, and tells how it ended."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from xinglin import errors
from xinglin.errors import Interrupted, XinglinError
from xinglin.runtime.environment import library_variables
from xinglin.runtime.worker import Job

_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class StageCrashed(Exception):
    """A stage ended by a bug or a signal: no fault of the recipe. The run folder can be resumed."""

    exit_code = 1


@dataclass(frozen=True)
class End:
    """How a stage's process ended."""

    code: int
    """0, an exit code, or minus the signal that killed it."""
    error: str = ""
    message: str = ""
    when: float = 0.0
    """Of the first sign of a failure, in seconds since 1970; infinite if it was ended for another's failure."""


class LocalExecutor:
    """Forks stages from one process that has imported ``preload``, so that each starts in a moment.

    The first Ctrl-C or SIGTERM asks the running stage to save and stop, the second kills it.
    """

    def __init__(self, preload: tuple[str, ...], *, lock: int | None, offline: bool):
        """
        Args:
            preload: modules to import before the first stage, while the pipeline does other things.
            lock: descriptor of the run's lock, which every process of the run keeps open; None: a process that
                only helps another to run, and prints nothing but errors.
            offline: whether libraries must not ask the network for models.
        """
        self._preload = preload
        self._lock = lock
        self._offline = offline
        self._child: int | None = None
        self._stopping = self._killed = False

    def __enter__(self) -> "LocalExecutor":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        read, write = os.pipe()
        with _signals_held():
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(write), *self._preload],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if self._lock is None else _descriptor(sys.stdout),
                stderr=_descriptor(sys.stderr),
                pass_fds=(write,) if self._lock is None else (write, self._lock),
                env=library_variables(offline=self._offline),
                text=True,
            )
        os.close(write)
        self._status = os.fdopen(read)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._signal_child(signal.SIGKILL)
        self._server.kill()
        with contextlib.suppress(BrokenPipeError):  # a job that it never read
            self._server.communicate()
        self._status.close()

    def run(self, job: Job) -> None:
        """Run one stage to its end.

        Raises:
            XinglinError: what the stage raised, the same class, its message headed by the stage's name.
            StageCrashed: it ended by a bug, with the traceback, or by a signal.
            Interrupted: it was asked to stop, and has saved its work.
        """
        self.conclude(self.wait(job), f"stage '{job.name}'")

    def conclude(self, end: End, where: str) -> None:
        """Raise what ``run`` raises for a stage that ended so."""
        if end.code == 0 and not self._stopping:
            return
        if self._stopping or end.code == Interrupted.exit_code:
            raise Interrupted
        if end.code == XinglinError.exit_code and end.error:
            kind = getattr(errors, end.error)
            raise (XinglinError if kind is errors.RecipeError else kind)(f"{where}: {end.message}")
        if end.code < 0:
            raise StageCrashed(f"{where}: {_death(-end.code)}")
        raise StageCrashed(f"{end.message}{where}: stopped by the bug above (exit code {end.code})")

    def wait(self, job: Job) -> End:
        """Run one stage to its end, whatever that is."""
        self._killed = False
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(asdict(job)), file=self._server.stdin, flush=True)
        error: dict[str, str] = {}
        when = 0.0
        for line in self._status:
            message = json.loads(line)
            if "pid" in message:
                self._child = message["pid"]
            elif "error" in message:
                error, when = message, time.time()
            else:
                self._child = None
                if not error:
                    when = math.inf if self._killed else time.time()
                return End(message["exit"], error.get("error", ""), error.get("message", ""), when)
        self._signal_child(signal.SIGKILL)
        self._child = None
        return End(-signal.SIGKILL, when=time.time())

    def kill(self) -> None:
        """End the running stage, because it cannot go on without one that failed elsewhere."""
        self._killed = True
        self._signal_child(signal.SIGKILL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._child is None:
            raise Interrupted
        if self._stopping:
            self._signal_child(signal.SIGKILL)
            return
        self._stopping = True
        if self._lock is not None:
            print("\nstopping: waiting for the stage to save its work (again: kill it)", file=sys.stderr)
        self._signal_child(signal.SIGTERM)

    def _signal_child(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)


_SERVE = "import sys; from xinglin.runtime.forkserver import serve; serve(int(sys.argv[1]), sys.argv[2:])"


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """The new process starts with both signals blocked and lets them in when it can handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _descriptor(stream: Any) -> int | None:
    """The descriptor behind a stream; None (inherit) where a notebook or a test put another object there."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _death(number: int) -> str:
    name = signal.Signals(number).name
    reason = {"SIGKILL": " (out of memory?)", "SIGSEGV": " (a crash in native code; see error.txt)"}.get(
        name, ""
    )
    return f"killed by {name}{reason}"
