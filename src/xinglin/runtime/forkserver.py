"""A process that imports the heavy libraries once and is then copied for every stage.

Unlike the one of ``multiprocessing`` it does not import the caller's script again in every copy, so ``xinglin.run``
works in scripts without a ``__main__`` guard and in notebooks, and a stage's exit status and signal come back as the
operating system reports them.

Protocol: one JSON job per line on standard input. For each, on the status pipe: ``{"pid": …}``, then ``{"error": …}``
from a worker that failed, then ``{"exit": code}``, negative for a signal. End of input means that the pipeline is
gone, and ends this process and the running stage.
"""

import importlib
import json
import os
import signal
import sys
from types import FrameType
from typing import Any

from xinglin.runtime.logging import install
from xinglin.runtime.worker import work


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
    status = os.fdopen(status_descriptor, "w")

    def tell(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=status, flush=True)

    for line in sys.stdin:
        stop.requested = False
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os._exit(work(json.loads(line), log=log, tell=tell, stop_requested=lambda: stop.requested))
        tell({"pid": pid})
        _, code = os.waitpid(pid, 0)
        tell({"exit": os.waitstatus_to_exitcode(code)})
