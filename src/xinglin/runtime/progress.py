"""How far a stage is: a live display on a terminal, a plain line now and then elsewhere and in the log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from xinglin.errors import Interrupted
from xinglin.runtime.logging import Tee
from xinglin.runtime.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_SECONDS = 10.0
SHOW_EVERY_SECONDS = 0.2

_FIELDS = {
    "loss": ("loss", "{:.4f}".format),
    "accuracy": ("accuracy", "{:.1%}".format),
    "grad_norm": ("grad", "{:.2f}".format),
    "learning_rate": ("lr", "{:.1e}".format),
    "tokens_per_second": ("tok/s", "{:,.0f}".format),
    "memory_bytes": ("mem", bytes_text),
}


_stop_requested: Callable[[], bool] = lambda: False


def interrupt_when(stop_requested: Callable[[], bool]) -> None:
    """From now on in this process: whether work that is ``interruptible`` is to end."""
    global _stop_requested
    _stop_requested = stop_requested


class Bar:
    """Counts what is done. ``advance`` costs under a microsecond between two displays."""

    def __init__(
        self, total: int | None, label: str, display: "_Terminal | None", *, interruptible: bool = False
    ):
        self.total = total
        self.label = label
        self.done = 0
        self.fields: dict[str, Any] = {}
        self._display = display
        self._interruptible = interruptible
        self._started = self._shown = self._written = time.monotonic()

    def advance(self, n: int = 1, **fields: Any) -> None:
        """``n`` more are done; ``fields`` (``loss=…``, ``tokens_per_second=…``) replace the values shown."""
        self.done += n
        if fields:
            self.fields |= fields
        now = time.monotonic()
        if now - self._shown >= SHOW_EVERY_SECONDS:
            self._shown = now
            if self._interruptible and _stop_requested():
                raise Interrupted
            if self._display:
                self._display.show(self)
        if now - self._written >= LINE_EVERY_SECONDS:
            self._written = now
            self._write_line()

    def finish(self) -> None:
        if self._display:
            self._display.show(self)
        if self.done:
            self._write_line()

    def fields_text(self) -> str:
        return "  ".join(_field_text(name, value) for name, value in self.fields.items())

    def _write_line(self) -> None:
        """To the log alone where a terminal shows the display, else to standard output (and so to the log)."""
        seconds = time.monotonic() - self._started
        done = f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"
        parts = [f"{self.label} {done}", self.fields_text(), seconds_text(seconds)]
        if self.total and 0 < self.done < self.total:
            parts.append(f"ETA {seconds_text(seconds / self.done * (self.total - self.done))}")
        line = "  ".join(part for part in parts if part) + "\n"
        if self._display is None:
            sys.stdout.write(line)
            sys.stdout.flush()
        elif isinstance(sys.stdout, Tee):
            sys.stdout.log.write(line)


@contextlib.contextmanager
def progress(total: int | None, label: str, *, interruptible: bool = False) -> Iterator[Bar]:
    """Show progress towards ``total`` (None: unknown) while the block runs.

    On a terminal a live line with the fields and the time left; elsewhere a line of text every ten seconds.

    Args:
        interruptible: nothing of the block is kept if it does not end, so it may end anywhere.

    Raises:
        Interrupted: the stage was asked to stop, and the block is ``interruptible``.
    """
    if not sys.stdout.isatty():
        bar = Bar(total, label, None, interruptible=interruptible)
        yield bar
        bar.finish()
        return
    with _Terminal.opened(total, label) as display:
        bar = Bar(total, label, display, interruptible=interruptible)
        yield bar
        bar.finish()


class _Terminal:
    def __init__(self, live: "Progress", task: "TaskID"):
        self._live = live
        self._task = task

    def show(self, bar: Bar) -> None:
        self._live.update(self._task, completed=bar.done, fields=bar.fields_text())

    @staticmethod
    @contextlib.contextmanager
    def opened(total: int | None, label: str) -> Iterator["_Terminal"]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        terminal = sys.stdout.stream if isinstance(sys.stdout, Tee) else sys.stdout
        console = Console(file=terminal, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fields]}"),
            TimeRemainingColumn(compact=True),
        )
        teed = isinstance(sys.stdout, Tee)
        live = Progress(
            *columns,
            console=console,
            refresh_per_second=5,
            redirect_stdout=not teed,
            redirect_stderr=not teed,
        )
        with _printing_above(console), live:
            yield _Terminal(live, live.add_task(label, total=total, fields=""))


@contextlib.contextmanager
def _printing_above(console: Any) -> Iterator[None]:
    """Let what is printed meanwhile appear above the display, and in the log without the display."""
    from rich.file_proxy import FileProxy

    streams: list[tuple[Tee, TextIO]] = [
        (s, s.stream) for s in (sys.stdout, sys.stderr) if isinstance(s, Tee)
    ]
    for tee, stream in streams:
        tee.stream = FileProxy(console, stream)
    try:
        yield
    finally:
        for tee, stream in streams:
            tee.stream = stream


def _field_text(name: str, value: Any) -> str:
    label, show = _FIELDS.get(name, (name.replace("_", " "), None))
    if show is None:
        show = "{:.4g}".format if isinstance(value, float) else str
    return f"{label} {show(value)}"
