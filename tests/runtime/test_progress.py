import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xinglin.errors import Interrupted
from xinglin.runtime import progress as module
from xinglin.runtime.progress import progress
from xinglin.runtime.units import bytes_text, seconds_text


def test_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with progress(10, "training") as bar:
        for step in range(10):
            now += 4
            bar.advance(
                loss=1.0, grad_norm=0.5, tokens_per_second=1234.5, memory_bytes=3 << 30, margin=step / 3
            )
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "training 3/10  loss 1.0000  grad 0.50  tok/s 1,234  mem 3.0 GiB  margin 0.6667  12.0 s  ETA 28.0 s"
    )
    assert [line.split("  ")[0] for line in printed] == [f"training {n}/10" for n in (3, 6, 9, 10)]


def test_unknown_totals_and_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(None, "reading") as bar:
        bar.advance(7)
    with progress(5, "cached"):
        pass
    assert capsys.readouterr().out.startswith("reading 7  0.")


def test_a_failure_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), progress(1, "x"):
        raise ZeroDivisionError


def test_advancing_is_cheap() -> None:
    with progress(100_000, "x") as bar:
        started = time.process_time()
        for _ in range(100_000):
            bar.advance(loss=1.0)
        assert time.process_time() - started < 2, "20 microseconds a call would already be absurd"


LIVE = """
import sys, time
from pathlib import Path
from xinglin.runtime.logging import logged
from xinglin.runtime.progress import progress
with logged(Path(sys.argv[1])), progress(3, "training") as bar:
    for step in range(3):
        print("a warning", step)
        time.sleep(0.25)
        bar.advance(loss=0.5)
"""


def test_on_a_terminal_the_display_stays_below_and_out_of_the_log(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE, str(tmp_path / "log.txt")], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # a terminal whose other end is closed
            break
        shown += chunk
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert all(f"a warning {step}\r\n" in text for step in range(3))
    assert "3/3 loss 0.5000" in text
    log = [line.partition("  ")[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert log[:3] == ["a warning 0", "a warning 1", "a warning 2"]
    assert re.fullmatch(r"training 3/3  loss 0.5000  0\.\d s", log[3]) and len(log) == 4


def test_units() -> None:
    assert [bytes_text(n) for n in (0, 1023, 1 << 20, 1.5 * (1 << 40))] == [
        "0 B",
        "1023 B",
        "1.0 MiB",
        "1.5 TiB",
    ]
    assert [seconds_text(n) for n in (0.04, 59.9, 187, 18187)] == ["0.0 s", "59.9 s", "3:07 min", "5:03:07 h"]


def test_what_may_end_anywhere_ends_when_the_stage_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 0.0, False
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module, "_stop_requested", lambda: asked)
    with pytest.raises(Interrupted), progress(9, "reading", interruptible=True) as bar:
        bar.advance()
        asked, now = True, 1.0
        bar.advance()
    with progress(9, "training") as bar:
        now = 2.0
        bar.advance()
    assert bar.done == 1
