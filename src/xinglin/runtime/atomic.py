"""Files and folders that are either whole or absent: write aside, fsync, rename."""

import os
from collections.abc import Callable
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``; a reader sees the old bytes or the new ones, never a part.

    One process writes a path at a time. What one that was killed left aside, the next one takes over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below ``folder``."""
    for root, _, names in os.walk(folder):
        for name in names:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into a hidden sibling, then rename it to ``folder``, which must not exist yet."""
    aside = folder.with_name(f".{folder.name}.tmp")
    remove_folder(aside)
    aside.mkdir(parents=True)
    fill(aside)
    sync_tree(aside)
    aside.rename(folder)
    sync_folder(folder.parent)


def remove_unfinished(folder: Path) -> None:
    """Delete what writers that were killed have left aside in ``folder`` and below."""
    import shutil

    for aside in list(folder.rglob(".*.tmp")):
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that no half-deleted one is ever seen under its name."""
    import shutil

    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)
