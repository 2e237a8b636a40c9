"""Whole or absent, and nothing left lying about."""

from pathlib import Path

from xinglin.runtime import atomic


def test_a_file_is_replaced_and_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    atomic.write_text(path, "old")
    (path.parent / ".report.html.tmp").write_text("cut sho")
    atomic.write_text(path, "新")
    assert path.read_text(encoding="utf-8") == "新"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "shards" / ".ab12.tmp").mkdir(parents=True)
    for name in ("weights", ".artifact.json.tmp", "shards/.ab12.tmp/.half.tmp"):
        (tmp_path / name).touch()
    atomic.remove_unfinished(tmp_path)
    assert {each.name for each in tmp_path.rglob("*")} == {"weights", "shards"}


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "step-1"
    (tmp_path / ".step-1.tmp").mkdir()
    (tmp_path / ".step-1.tmp" / "half").touch()

    def fill(aside: Path) -> None:
        assert not folder.exists()
        (aside / "weights").write_bytes(b"1")

    atomic.make_folder(folder, fill)
    assert [each.name for each in tmp_path.rglob("*")] == ["step-1", "weights"]
    atomic.remove_folder(folder)
    assert not list(tmp_path.iterdir())
