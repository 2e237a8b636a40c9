"""A secret that a project keeps: read from the environment, or from a file that is made once."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from xinglin.errors import RunError

MIN_BYTES = 16
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def project_secret(variable: str, path: Path) -> bytes:
    """The value of environment variable ``variable`` where it is set, else what is in ``path``: 32 random bytes, in
    hexadecimal, written by the first who asks, with mode 0600.

    Raises:
        RunError: it is shorter than 16 bytes, others may read the file, or it cannot be made.
    """
    if value := os.environ.get(variable):
        return _long_enough(value.encode(), f"environment variable {variable}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), os.fdopen(os.open(path, _NEW, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        shared = path.stat().st_mode & 0o077
    except OSError as error:
        raise RunError(f"{path}: cannot keep a secret here ({error.strerror}); set {variable}") from error
    if shared:
        raise RunError(f"{path}: others may read this secret; type chmod 600 {path}")
    return _long_enough(path.read_bytes().strip(), str(path))


def _long_enough(value: bytes, place: str) -> bytes:
    if len(value) < MIN_BYTES:
        raise RunError(f"{place}: a secret of {len(value)} bytes can be guessed; it needs {MIN_BYTES}")
    return value
