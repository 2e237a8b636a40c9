"""A project's key: made once, readable by its owner, never short."""

from pathlib import Path

import pytest

from xinglin.errors import RunError
from xinglin.runtime.secret import project_secret


def test_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    first = project_secret("XINGLIN_NO_SUCH", path)
    assert len(first) == 64 and project_secret("XINGLIN_NO_SUCH", path) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_TEST_KEY", "a secret of 26 characters.")
    assert project_secret("XINGLIN_TEST_KEY", tmp_path / "key") == b"a secret of 26 characters."
    assert not (tmp_path / "key").exists()


def test_what_cannot_be_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_TEST_KEY", "short")
    with pytest.raises(RunError, match="variable XINGLIN_TEST_KEY: a secret of 5 bytes"):
        project_secret("XINGLIN_TEST_KEY", tmp_path / "key")
    open_to_all = tmp_path / "open"
    open_to_all.write_text("x" * 40)
    open_to_all.chmod(0o644)
    with pytest.raises(RunError, match="chmod 600"):
        project_secret("XINGLIN_NO_SUCH", open_to_all)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="set XINGLIN_NO_SUCH"):
        project_secret("XINGLIN_NO_SUCH", tmp_path / "file" / "key")
