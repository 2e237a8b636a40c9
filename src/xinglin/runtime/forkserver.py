"""A process that imports the heavy libraries once and is then copied for every stage.

Unlike the one of ``multiprocessing`` it does not import the caller's script again in every copy, so ``xinglin.run``
works in scripts without a ``__main__`` guard and in notebooks, and a stage's exit status and signal come back as the
operating system reports them.

Protocol: one JSON job per line on standard input. For each, on the status pipe: ``{"pid": …}``, then ``{"error": …}``
from a worker that failed, then ``{"exit": code}``, negative for a signal. End of input means that the pipeline is
gone, and ends this process and the running stage.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

from xinglin.runtime.logging import Log, install
from xinglin.runtime.worker import Tell, work


class _Stop:
    requested = False

    def request(self, signum: int, frame: FrameType | None) -> None:
        self.requested = True


def serve(status_descriptor: int, preload: list[str]) -> None:
    """Fork a worker for every job until standard input ends."""
    stop = _Stop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.request)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    log = install()
    for module in preload:
        importlib.import_module(module)
    # Nothing of this is ever garbage: no worker has to look through it, nor to copy it for having looked.
    gc.freeze()

    def tell(message: dict[str, Any]) -> None:
        os.write(status_descriptor, f"{json.dumps(message)}\n".encode())

    with contextlib.suppress(BrokenPipeError):  # the pipeline was killed
        for line in sys.stdin:
            stop.requested = False
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                _become_worker(line, log=log, tell=tell, stop=stop)
            tell({"pid": pid})
            _, code = os.waitpid(pid, 0)
            tell({"exit": os.waitstatus_to_exitcode(code)})


def _become_worker(job: str, *, log: Log, tell: Tell, stop: _Stop) -> NoReturn:
    """Never return into the server's loop, whatever happens."""
    code = 1
    try:
        code = work(json.loads(job), log=log, tell=tell, stop_requested=lambda: stop.requested)
    except BaseException:
        traceback.print_exc()
    os._exit(code)
