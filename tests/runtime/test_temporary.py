import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xinglin.runtime.temporary import temporary_folder


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_this_users_and_goes_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_folder("check-") as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o077 == 0
        (folder / "records.jsonl").write_text("1")
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    code = f"""
import os, tempfile
from xinglin.runtime.temporary import temporary_folder
tempfile.tempdir = {str(tmp_path)!r}
with temporary_folder("check-") as folder:
    (folder / "records.jsonl").write_text("1")
    os.kill(os.getpid(), 9)
"""
    with temporary_folder("check-") as mine:
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        (left,) = set(tmp_path.iterdir()) - {mine}
        (tmp_path / "check-list.txt").write_text("a file of somebody else's")
        with temporary_folder("check-") as other:
            assert not left.exists() and mine.is_dir() and other.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["check-list.txt"]
