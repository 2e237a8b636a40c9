import errno
from pathlib import Path

import pytest

from xinglin.errors import RunError
from xinglin.runtime.directory import RunFolder, disk_full_explained, hash_files


def test_publishing_replaces_the_old_artifact_and_deletes_the_work(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for text in ("old", "new"):
        work = folder.work("sft")
        work.out.mkdir(parents=True)
        work.scratch.mkdir()
        (work.out / "weights").write_text(text)
        work.publish(folder.stage("sft"))
        assert (folder.stage("sft") / "weights").read_text() == text
        assert not work.path.exists()
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["sft"]


def test_hashes_of_all_files_but_the_artifact_itself(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("x")
    (tmp_path / "artifact.json").write_text("{}")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert hash_files(tmp_path) == {"a/b.txt": {"bytes": 1, "sha256": digest}}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "quota"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_explained_whoever_reports_it(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(RunError, match=r"the disk is full \(.* free\); make room"),
        disk_full_explained(tmp_path),
    ):
        raise error
    with pytest.raises(RunError), disk_full_explained(tmp_path):
        try:
            raise error
        except Exception as inner:
            raise ValueError("saving failed") from inner
    with pytest.raises(PermissionError), disk_full_explained(tmp_path):
        raise PermissionError
