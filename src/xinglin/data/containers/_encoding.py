"""How the bytes of a text file spell characters: found over the whole file, and decoded strictly.

A mark at the beginning says it. Without one, a file is UTF-8 if all of it is; else each line is put to UTF-8, GB18030
and Big5 in turn, and the encoding of most lines is the file's. The lines that it does not spell are marked by lone
surrogates, which no text holds, so that the rows on them are quarantined and no other row is.
"""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, TextIO, cast

from xinglin.data.containers._bytes import File

CHUNK = 1 << 20
HEAD = 1 << 16
FOREIGN = 16
"""Extra bytes of multi-byte characters that make a line UTF-8. GB18030 text passes for UTF-8 by accident about
once in seven characters, so sixteen in a row do not happen."""
SAMPLE = 1 << 18
LEGACY = ("gb18030", "big5hkscs")
MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
FREQUENT = frozenset(
    "的一是不了在人有我他这这中大来上个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后么"
    "個這說們為時會過對裡後麼請問您好病医醫生痛药藥治疗療症"
)
"""The characters that every fourth one of a Chinese text is, in both scripts."""


@dataclass(frozen=True, slots=True)
class Encoding:
    name: str
    """For ``codecs``; '' when there is none, with the reason in ``fault``."""
    errors: Literal["strict", "mark"] = "strict"
    """``mark``: some lines are spelt otherwise, and hold lone surrogates once decoded."""
    fault: str = ""


def mark(error: UnicodeError) -> tuple[str, int]:
    """Each byte that does not decode as a lone surrogate, as ``surrogateescape`` has it; an error handler."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("xinglin.mark", mark)


def detect(file: File) -> Encoding:
    """The encoding of ``file``, after reading it once or twice."""
    with file.open() as stream:
        head = stream.read(HEAD)
    name = next((name for start, name in MARKS.items() if head.startswith(start)), "")
    if not name and b"\0" in head:
        name = _unmarked_utf16(head)
        if not name:
            return Encoding("", fault=f"a zero byte at byte {head.index(0)}")
    fault = _first_fault(file, name or "utf-8")
    if fault is None:
        return Encoding(name or "utf-8")
    return Encoding(name, "mark") if name else _by_lines(file, fault)


def decoded(file: File, encoding: Encoding, *, newline: str | None = None) -> TextIO:
    """The text of ``file``."""
    stream = file.open()
    if encoding.errors == "strict":
        return io.TextIOWrapper(stream, encoding.name, newline=newline)
    if encoding.name.startswith("utf"):
        return io.TextIOWrapper(stream, encoding.name, "xinglin.mark", newline=newline)
    mended = io.BufferedReader(_Marked(stream, encoding.name), CHUNK)
    return io.TextIOWrapper(mended, "utf-8", "surrogatepass", newline=newline)


class _Marked(io.RawIOBase):
    """Lines of GB18030 or Big5 as UTF-8. A line that is UTF-8 already would decode to other characters without
    any fault, so it is marked as a whole."""

    def __init__(self, stream: BinaryIO, encoding: str):
        self._stream, self._encoding, self._pending = stream, encoding, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._pending and (line := self._stream.readline()):
            encoding = "ascii" if _is_utf8(line) else self._encoding
            self._pending = line.decode(encoding, "xinglin.mark").encode("utf-8", "surrogatepass")
        given = self._pending[: len(buffer)]
        buffer[: len(given)] = given
        self._pending = self._pending[len(given) :]
        return len(given)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _unmarked_utf16(head: bytes) -> str:
    """UTF-16 writes Latin letters, digits and line ends with a zero as their first or second byte."""
    zeros = [head[0::2].count(0), head[1::2].count(0)]
    name = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    if min(zeros) * 20 > max(zeros):
        return ""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return ""
    return name if all(char >= " " or char in "\t\r\n\f" for char in text) else ""


def _first_fault(file: File, encoding: str) -> int | None:
    """Offset of the first byte that does not decode; None if all do."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with file.open() as stream:
        while True:
            chunk = stream.read(CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return offset - pending + error.start
            offset += len(chunk)
            if not chunk:
                return None


def _by_lines(file: File, fault: int) -> Encoding:
    """The encoding of most lines that are not ASCII, counted in bytes."""
    good = dict.fromkeys(("utf-8", *LEGACY), 0)
    total, sample = 0, bytearray()
    with file.open() as stream:
        for line in _lines(stream):
            total += len(line)
            good["utf-8"] += len(line) * _decodes(line, "utf-8")
            if _is_utf8(line):
                continue
            for name in LEGACY:
                good[name] += len(line) * _decodes(line, name)
            if len(sample) < SAMPLE:
                sample += line[:SAMPLE]
    best = max(good, key=lambda name: good[name])
    if best != "utf-8" and min(good[name] for name in LEGACY) * 10 > 7 * good[best]:
        # The bytes of one mostly make characters of the other, rare ones.
        best = max(LEGACY, key=lambda name: _frequent(bytes(sample), name))
    if good[best] * 2 < total:
        return Encoding(
            "", fault=f"UTF-8 fails at byte {fault}, and most lines are no GB18030 or Big5 either"
        )
    return Encoding(best, "strict" if good[best] == total else "mark")


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that are not ASCII; a long one in parts that end where a character does in all three encodings."""
    kept = b""
    while line := stream.readline(CHUNK):
        if not line.endswith(b"\n") and len(line) == CHUNK:
            end = max(line.rfind(byte) for byte in (b'"', b" ", b",", b":")) + 1
            line, kept = kept + line[:end], line[end:]
        elif kept:
            line, kept = kept + line, b""
        if not line.isascii():
            yield line
    if kept and not kept.isascii():
        yield kept


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(line: bytes) -> bool:
    try:
        return len(line) - len(line.decode()) >= FOREIGN
    except UnicodeDecodeError:
        return False


def _frequent(sample: bytes, encoding: str) -> float:
    text = [char for char in sample.decode(encoding, "ignore") if char > "\x7f"]
    return sum(char in FREQUENT for char in text) / max(1, len(text))


def start(file: File, encoding: Encoding) -> str:
    """The beginning of the text."""
    with decoded(file, encoding) as stream:
        return cast(str, stream.read(HEAD))
