"""Bytes of a file, or of a member of a zip archive: unpacked on the way, seekable where a library asks for it."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from xinglin.data.containers import _extra

ZIP = b"PK\x03\x04"
SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
"""Of packed files; what is packed is told by the suffix before it."""


@dataclass(frozen=True)
class File:
    path: Path
    member: str = ""
    """Of the zip archive at ``path``; '' for a file of its own."""

    def __str__(self) -> str:
        path = "/".join(map(_written, str(self.path).split("/")))
        return f"{path}/{self.member}" if self.member else path

    @property
    def suffix(self) -> str:
        """In small letters, e.g. ``.csv`` for ``rows.CSV.gz``."""
        name = Path(self.member or self.path).name.lower()
        for packed in SUFFIXES:
            name = name.removesuffix(packed)
        return Path(name).suffix

    @cached_property
    def members(self) -> tuple[str, ...]:
        """What a zip archive holds; nothing for any other file."""
        with self.open() as stream:
            if stream.read(4) != ZIP:
                return ()
        with self.seekable() as stream, zipfile.ZipFile(stream) as archive:
            return tuple(archive.namelist())

    def open(self) -> BinaryIO:
        stream, unpack = self._stored()
        return (
            cast(BinaryIO, io.BufferedReader(_Unpacked(stream, unpack(stream)), 1 << 20))
            if unpack
            else stream
        )

    def seekable(self) -> BinaryIO:
        """As ``open``; what is packed is unpacked into a temporary file first."""
        stream, unpack = self._stored()
        if not unpack and not self.member:
            return stream
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        stream.close()
        with self.open() as unpacked:
            shutil.copyfileobj(unpacked, copy, 1 << 20)
        copy.seek(0)
        return copy

    def _stored(self) -> tuple[BinaryIO, Callable[[BinaryIO], BinaryIO] | None]:
        """The bytes as they are stored, and what unpacks them."""
        member = zipfile.ZipFile(self.path).open(self.member) if self.member else None  # noqa: SIM115
        stream = cast(BinaryIO, member) if member else self.path.open("rb")
        start = stream.read(6)
        stream.seek(0)
        return stream, next((unpack for magic, unpack in _PACKED.items() if start.startswith(magic)), None)


def _written(name: str) -> str:
    """The name of a file as text that can be written down: one that is not UTF-8 comes from a Chinese Windows, as a
    rule."""
    try:
        name.encode()
    except UnicodeEncodeError:
        data = os.fsencode(name)
        try:
            return data.decode("gb18030")
        except UnicodeDecodeError:
            return data.decode("utf-8", "backslashreplace")
    return name


class _Unpacked(io.RawIOBase):
    """What comes out of a packed file; closes the file as well."""

    def __init__(self, packed: BinaryIO, unpacked: BinaryIO):
        self._packed, self._unpacked = packed, unpacked

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._unpacked.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._unpacked.close()
        self._packed.close()
        super().close()


class _Zst:
    """Zstandard frames one after another. The library's own reader takes a file that is cut off for a whole one."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._ready = stream, b""
        self._zstandard = _extra.load("zstandard")
        self._frame: Any = None

    def read(self, size: int) -> bytes:
        while not self._ready:
            packed = self._stream.read(1 << 17)
            if not packed:
                if self._frame:
                    raise EOFError("the file ends within a frame")
                return b""
            self._ready = b"".join(self._unpacked(packed))
        part, self._ready = self._ready[:size], self._ready[size:]
        return part

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            self._frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
            try:
                yield self._frame.decompress(packed)
            except self._zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            packed = b""
            if self._frame.eof:
                packed, self._frame = self._frame.unused_data, None

    def close(self) -> None:
        self._ready = b""


_PACKED: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda stream: cast(BinaryIO, gzip.open(stream)),  # noqa: SIM115
    b"BZh": lambda stream: cast(BinaryIO, bz2.open(stream)),  # noqa: SIM115
    b"\xfd7zXZ\0": lambda stream: cast(BinaryIO, lzma.open(stream)),  # noqa: SIM115
    b"\x28\xb5\x2f\xfd": lambda stream: cast(BinaryIO, _Zst(stream)),
}
