"""Several processes, one run: the first leads, the others join those stages that are shared.

``torchrun`` and ``accelerate launch`` start the same command several times. The first process plans, runs and prints
as if it were alone. Each other one connects to it, runs the shared stages that it is told to at the same time, and
tells how they ended. A failure of one is the failure of all: nobody waits for a process that will not come.

Protocol: JSON lines over TCP. A follower begins with ``{"token", "rank"}`` and gets ``{"preload", "offline"}``, then
``{"job", "port"}`` for every shared stage, which it answers with an ``End``, ``{"stop"}`` when that stage failed
elsewhere, and ``{"done"}``. The token is in the run folder, which is the same on all machines: whoever can read it may
take part.
"""

import contextlib
import json
import math
import queue
import secrets
import socket
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from xinglin.errors import Interrupted, RunError, XinglinError
from xinglin.runtime.atomic import write_text
from xinglin.runtime.environment import Launch
from xinglin.runtime.executor import End, LocalExecutor
from xinglin.runtime.worker import Job

JOIN_SECONDS = 120.0
"""How long processes look for one another."""
GRACE_SECONDS = 10.0
"""How long a stage that failed elsewhere may take to end by itself, with a message of its own."""


class _Line:
    """Both ends of a connection send and receive JSON objects, a line each."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._file = connection.makefile("r", encoding="utf-8")

    def send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # who is gone is found out by the one who receives
            self._connection.sendall(f"{json.dumps(message)}\n".encode())

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        with contextlib.suppress(OSError, ValueError):
            if line := self._file.readline():
                return json.loads(line)
        return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class Followers:
    """The other processes, as the first one sees them."""

    def __init__(self, launch: Launch, meeting: Path, *, preload: tuple[str, ...], offline: bool):
        """Wait until all have joined, so that a machine that cannot is found out before any work.

        Raises:
            RunError: some have not joined in time.
        """
        self._launch = launch
        self._welcome = {"preload": preload, "offline": offline}
        self._token = secrets.token_hex(16)
        self._lines: dict[int, _Line] = {}
        self._changed = threading.Condition()
        self._ends: queue.Queue[tuple[int, End]] = queue.Queue()
        self._server = socket.create_server(("", 0))
        self._meeting = meeting
        threading.Thread(target=self._accept, daemon=True, name="followers").start()
        write_text(meeting, json.dumps({"port": self._server.getsockname()[1], "token": self._token}))
        self._wait_for_all()

    def close(self) -> None:
        """Let them go: there is nothing more to share."""
        self._meeting.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._server.close()
        for line in self._lines.values():
            line.send(done=True)
            line.close()

    def run(self, job: Job, executor: LocalExecutor) -> None:
        """Run a stage in all processes to its end; raises what ``LocalExecutor.run`` raises."""
        port = _free_port()
        for line in self._lines.values():
            line.send(job=asdict(job), port=port)
        ends: dict[int, End] = {}
        watch = threading.Thread(target=self._collect, args=(ends, executor), daemon=True)
        watch.start()
        own = executor.wait(replace(job, environment=self._launch.variables(port=port)))
        if own.code:
            self._stop_all()
        watch.join()
        rank, end = _cause({0: own, **ends})
        executor.conclude(end, f"stage '{job.name}'" + (f" in process {rank}" if rank else ""))

    def _wait_for_all(self) -> None:
        expected = self._launch.processes - 1
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._lines) == expected, JOIN_SECONDS):
                raise RunError(
                    f"{expected - len(self._lines)} of {self._launch.processes} processes have not joined within "
                    f"{JOIN_SECONDS:.0f} seconds; all machines need the same run folder, and must reach "
                    f"{self._launch.address}"
                )

    def _collect(self, ends: dict[int, End], executor: LocalExecutor) -> None:
        """How the followers ended; the first failure among them ends the leader's own part too."""
        failed = False
        while len(ends) < self._launch.processes - 1:
            rank, end = self._ends.get()
            ends[rank] = end
            if end.code and not failed:
                failed = True
                self._stop_all()
                _after_grace(executor)

    def _stop_all(self) -> None:
        for line in self._lines.values():
            line.send(stop=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._listen, args=(_Line(connection),), daemon=True).start()

    def _listen(self, line: _Line) -> None:
        hello = line.receive() or {}
        if not secrets.compare_digest(str(hello.get("token")), self._token):
            line.close()
            return
        rank = int(hello["rank"])
        line.send(**self._welcome)
        with self._changed:
            self._lines[rank] = line
            self._changed.notify_all()
        while message := line.receive():
            self._ends.put((rank, End(**message)))
        self._ends.put((rank, End(-9, when=time.time())))


def follow(launch: Launch, meeting: Path) -> None:
    """Take part in every shared stage of the run whose first process is to be found at ``meeting``.

    Raises:
        RunError: there is none.
        SystemExit: the first process is gone, or this one was asked to stop. Why is for the first one to say.
    """
    line, welcome = _join(launch, meeting)
    orders: queue.Queue[dict[str, Any] | None] = queue.Queue()
    try:
        with LocalExecutor(tuple(welcome["preload"]), lock=None, offline=welcome["offline"]) as executor:
            threading.Thread(target=_obey, args=(line, orders, executor), daemon=True).start()
            while order := orders.get():
                if "done" in order:
                    return
                job = replace(Job(**order["job"]), environment=launch.variables(port=order["port"]))
                line.send(**asdict(executor.wait(job)))
    except Interrupted:
        raise SystemExit(Interrupted.exit_code) from None
    finally:
        line.close()
    raise SystemExit(1)


def _obey(line: _Line, orders: "queue.Queue[dict[str, Any] | None]", executor: LocalExecutor) -> None:
    while message := line.receive():
        if "stop" in message:
            _after_grace(executor)
        else:
            orders.put(message)
    executor.kill()
    orders.put(None)


def _join(launch: Launch, meeting: Path) -> tuple[_Line, dict[str, Any]]:
    """The connection and the first message. A file that an earlier run left behind leads to nobody: look again."""
    deadline = time.monotonic() + JOIN_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(meeting.read_text(encoding="utf-8"))
            line = _Line(socket.create_connection((launch.address, found["port"])))
            line.send(token=found["token"], rank=launch.rank)
            if welcome := line.receive():
                return line, welcome
        time.sleep(0.05)
    raise RunError(
        f"{meeting.parent}: process {launch.rank} finds no run to take part in within {JOIN_SECONDS:.0f} seconds; "
        f"all machines need the same run folder, and must reach {launch.address}"
    )


def _cause(ends: dict[int, End]) -> tuple[int, End]:
    """The process and the end that explain the others: a mistake of the user, then a death, then the first bug."""

    def order(rank: int) -> tuple[bool, bool, bool, float]:
        end = ends[rank]
        return math.isinf(end.when), end.code != XinglinError.exit_code, end.code > 0, end.when

    failed = [rank for rank in sorted(ends) if ends[rank].code]
    rank = min(failed, key=order) if failed else 0
    return rank, ends[rank]


def _after_grace(executor: LocalExecutor) -> None:
    timer = threading.Timer(GRACE_SECONDS, executor.kill)
    timer.daemon = True
    timer.start()


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])
