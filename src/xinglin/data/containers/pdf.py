"""PDF books: the text of every page, its hard line ends joined."""

import logging
from collections.abc import Iterator

from xinglin.data.containers import Container, Head, UnreadableFile, _extra
from xinglin.data.writing import wraps

TEXT = False


def opens(head: Head) -> bool:
    return head.start.lstrip().startswith(b"%PDF-")


def lines(container: Container) -> Iterator[str]:
    pypdf = _extra.load("pypdf")
    # It says on the terminal, without the name of the file, what it stumbles over and goes on from.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    blank = True
    with container.file.seekable() as stream:
        try:
            for page in pypdf.PdfReader(stream).pages:
                for line in wraps.joined(page.extract_text()).split("\n"):
                    blank = blank and not line.strip()
                    yield f"{line}\n"
        except Exception as error:  # pypdf raises whatever a damaged file makes it stumble over
            raise UnreadableFile.broken(f"{container.place}: no PDF that can be read", error) from error
    if blank:
        raise UnreadableFile(
            "no_text", f"{container.place}: a PDF without text, perhaps scanned; run it through OCR"
        )
