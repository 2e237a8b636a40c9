"""Word documents (docx): one line per paragraph, an empty one before each heading."""

import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from xinglin.data.containers import Container, Head, UnreadableFile

TEXT = False
CONTENT = "word/document.xml"
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def opens(head: Head) -> bool:
    return CONTENT in head.members


def lines(container: Container) -> Iterator[str]:
    with (
        container.file.seekable() as stream,
        zipfile.ZipFile(stream) as archive,
        archive.open(CONTENT) as content,
    ):
        try:
            for _, element in ElementTree.iterparse(content):
                if element.tag == f"{WORD}p":
                    text = "".join(_pieces(element))
                    yield f"\n{text}\n" if _is_heading(element) else f"{text}\n"
                    element.clear()
        except ElementTree.ParseError as error:
            raise UnreadableFile.broken(container.place, error) from error


def _pieces(paragraph: ElementTree.Element) -> Iterator[str]:
    for element in paragraph.iter():
        if element.tag == f"{WORD}t":
            yield element.text or ""
        elif element.tag == f"{WORD}tab":
            yield "\t"
        elif element.tag == f"{WORD}br":
            yield "\n"


def _is_heading(paragraph: ElementTree.Element) -> bool:
    style = paragraph.find(f"{WORD}pPr/{WORD}pStyle")
    return style is not None and style.get(f"{WORD}val", "").lower().startswith(
        ("heading", "title", "1", "2", "3")
    )
