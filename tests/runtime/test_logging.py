import contextlib
import os
import sys
from pathlib import Path

import pytest

from xinglin.runtime.logging import Log, Tee, logged


def lines(path: Path) -> list[str]:
    return [line.partition("  ")[2] for line in path.read_text(encoding="utf-8").splitlines()]


def test_both_streams_reach_terminal_and_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with logged(tmp_path / "log.txt"):
        print("发热", end="")
        print(" and cough")
        print("careful", file=sys.stderr)
        print("no newline at the end", end="")
    assert (sys.stdout, sys.stderr) == before
    assert lines(tmp_path / "log.txt") == ["发热 and cough", "careful", "no newline at the end"]
    assert capsys.readouterr() == ("发热 and cough\nno newline at the end", "careful\n")


def test_the_log_has_what_a_terminal_shows_in_the_end(tmp_path: Path) -> None:
    with logged(tmp_path / "log.txt"):
        print("\x1b[31mred\x1b[0m")
        print(" 10%\r 50%\r100% done")
    with logged(tmp_path / "log.txt"):
        print("appended")
    assert lines(tmp_path / "log.txt") == ["red", "100% done", "appended"]


def test_a_full_disk_does_not_swallow_messages(capsys: pytest.CaptureFixture[str]) -> None:
    with logged(Path("/dev/full")):
        print("still said")
    assert capsys.readouterr().out == "still said\n"


def test_a_reader_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    """``xinglin run … | head``: the rest goes to the log alone."""
    reader, writer = os.pipe()
    os.close(reader)
    log = Log()
    log.open(tmp_path / "log.txt")
    with os.fdopen(writer, "w") as stream:
        tee = Tee(stream, log)
        for number in range(3):
            tee.write(f"line {number}\n")
        tee.flush()
        with contextlib.suppress(BrokenPipeError):
            stream.close()
    log.close()
    assert [line.split()[-1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["0", "1", "2"]
