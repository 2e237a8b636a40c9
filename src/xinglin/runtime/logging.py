"""Everything that is printed also goes to the run's ``log.txt``, as plain text with the time."""

import contextlib
import io
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
WIDTH = 110
"""Columns of what is not printed on a terminal."""


class Log:
    """A text file to which several processes may append whole lines."""

    def __init__(self) -> None:
        self._file: TextIO | None = None
        self._rest = ""
        self._lock = threading.Lock()

    def open(self, path: Path) -> None:
        self.close()
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        if self._file is not None:
            if self._rest:
                self.write("\n")
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def write(self, text: str) -> None:
        """Append what a terminal would show in the end: no colours, no lines that were overwritten."""
        if self._file is None:
            return
        with (
            self._lock,
            contextlib.suppress(OSError),
        ):  # a full disk must not swallow the message that says so
            *lines, self._rest = (self._rest + _CONTROL.sub("", text)).split("\n")
            for line in lines:
                shown = line.rstrip().rsplit("\r", 1)[-1]
                self._file.write(f"{time.strftime('%H:%M:%S')}  {shown}".rstrip() + "\n")


class Tee(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr`` and copies what passes through to a log."""

    def __init__(self, stream: TextIO, log: Log):
        self.stream: Any = stream
        self.log = log

    def write(self, text: str) -> int:
        # Whoever read the output may be gone (``| head``); the work goes on, and the log has the rest.
        with contextlib.suppress(BrokenPipeError):
            self.stream.write(text)
            if "\n" in text:
                self.stream.flush()
        self.log.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # pyrefly: ignore[bad-override]
        return self.stream.encoding


def install() -> Log:
    """Put a ``Tee`` in front of both streams of this process; the log is opened when its path is known."""
    log = Log()
    sys.stdout, sys.stderr = Tee(sys.stdout, log), Tee(sys.stderr, log)
    return log


@contextlib.contextmanager
def logged(path: Path) -> Iterator[Log]:
    """Copy all that this process prints meanwhile to ``path``."""
    streams = sys.stdout, sys.stderr
    log = install()
    log.open(path)
    try:
        yield log
    finally:
        log.close()
        sys.stdout, sys.stderr = streams


def console() -> "Console":
    """A rich console on the current standard output, wide enough for tables where there is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
