"""The layout of a run folder, and how a finished stage gets into it."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xinglin.errors import RunError
from xinglin.runtime.artifact import FILE, sha256
from xinglin.runtime.atomic import remove_folder, sync_folder
from xinglin.runtime.units import bytes_text


@dataclass(frozen=True)
class RunFolder:
    """``recipe.yaml  log.txt  report.html  stages/<finished>/  work/<unfinished>/  cache/``"""

    path: Path

    def __post_init__(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: is a file; choose another folder with --out")
        if (
            self.path.is_dir()
            and any(self.path.iterdir())
            and not self.recipe.is_file()
            and not self.lock.is_file()
        ):
            raise RunError(f"{self.path}: holds files but no run; choose a new or empty folder with --out")

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    def stage(self, name: str) -> Path:
        """Where a finished stage is."""
        return self.path / "stages" / name

    @property
    def meeting(self) -> Path:
        """Where the processes that help to run find the first one."""
        return self.path / ".meeting"

    def work(self, name: str, *, rank: int = 0) -> "WorkFolder":
        return WorkFolder(self.path / "work" / name, rank)


@dataclass(frozen=True)
class WorkFolder:
    """An unfinished stage. ``fingerprint`` says of which work; ``out`` becomes the artifact."""

    path: Path
    rank: int = 0
    """Of the process that works on it, when several do: only the first one makes the artifact."""

    @property
    def fingerprint(self) -> Path:
        return self.path / "fingerprint"

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def error(self) -> Path:
        """Why the last attempt failed: a message or a traceback."""
        return self.path / f"error{self._suffix}.txt"

    @property
    def seconds(self) -> Path:
        """How long all attempts took so far."""
        return self.path / f"seconds{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f"-{self.rank}" if self.rank else ""

    def is_for(self, fingerprint: str) -> bool:
        return self.fingerprint.is_file() and self.fingerprint.read_text(encoding="utf-8") == fingerprint

    def seconds_spent(self) -> float:
        return float(self.seconds.read_text(encoding="utf-8")) if self.seconds.is_file() else 0.0

    def publish(self, target: Path) -> None:
        """Rename ``out``, which is complete and on disk, to ``target`` and delete the rest.

        What ``target`` held before is deleted after the rename, so at every moment one of both is whole.
        """
        self.fingerprint.unlink(missing_ok=True)
        target.parent.mkdir(exist_ok=True)
        replaced = self.path / "replaced"
        if target.exists():
            remove_folder(replaced)
            target.rename(replaced)
        self.out.rename(target)
        sync_folder(target.parent)
        sync_folder(self.path)
        remove_folder(self.path)


def hash_files(folder: Path) -> dict[str, dict[str, int | str]]:
    """Size and hash of every file below ``folder``, as an artifact records them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in files
    }


@contextlib.contextmanager
def disk_full_explained(folder: Path) -> Iterator[None]:
    """Turn "no space left on device", from whichever library it comes, into a message with a cure.

    Raises:
        RunError: names the folder and the space that its disk has left.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        free = bytes_text(shutil.disk_usage(folder).free)
        raise RunError(
            f"{folder}: the disk is full ({free} free); make room, then run the same command again: "
            "what is finished is kept and the rest goes on from its last checkpoint"
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    """Rust and C++ writers (safetensors, arrow) report it as text only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
