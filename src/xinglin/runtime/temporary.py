"""Temporary folders that a killed process does not leave for good."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """An empty folder that only this user can read, removed at the end; with it those of killed processes.

    Its process holds a lock on it, which the system drops however that process ends: a folder of this ``prefix``
    that can be locked is nobody's.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _locked(path):
            shutil.rmtree(path)
    # It gets its name when it is locked: before that it would look like one that was left.
    unnamed = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
    with _locked(unnamed):
        folder = unnamed.rename(unnamed.with_name(unnamed.name.removeprefix(".")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises: OSError, for a folder that another process has locked, and for one of another user."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
