import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xinglin.errors import RunError
from xinglin.runtime.lock import locked


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with (
        locked(path),
        pytest.raises(RunError, match=f"run: in use by process {os.getpid()} on "),
        locked(path),
    ):
        pass
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_new_run_waits_for_the_children_of_a_killed_one(tmp_path: Path) -> None:
    """The holder is killed; its child, which inherited the descriptor, lives a second longer."""
    code = """
import os, subprocess, sys
from pathlib import Path
from xinglin.runtime.lock import locked
with locked(Path(sys.argv[1])) as descriptor:
    subprocess.Popen(["sleep", "1"], pass_fds=[descriptor])
    os.kill(os.getpid(), 9)
"""
    path = tmp_path / ".lock"
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    with locked(path):
        assert time.monotonic() - started >= 1
