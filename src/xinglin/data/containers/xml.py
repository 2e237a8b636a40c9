"""XML: an element whose children are two fields or more, such as a pair of MedQuAD, is a row.

    <Document source="NIH"><Focus>Asthma</Focus>
      <QAPairs><QAPair pid="1"><Question>…</Question><Answer>…</Answer></QAPair></QAPairs></Document>

What stands above it in single fields and attributes joins the row, unless the row has that name itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from xml.etree import ElementTree

from xinglin.data.containers import Container, Head, Row, UnreadableFile

TEXT = True
CHUNK = 1 << 16
Event = tuple[str, ElementTree.Element]


def opens(head: Head) -> bool:
    text = head.text.lstrip()
    return text.startswith("<?xml") or (head.suffix == ".xml" and text.startswith("<"))


def rows(container: Container) -> Iterator[Row]:
    parser = ElementTree.XMLPullParser(["start", "end"])
    above: list[_Open] = []
    number = 0
    try:
        with container.text() as stream:
            while chunk := stream.read(CHUNK):
                parser.feed(chunk)
                for event, element in cast(Iterator[Event], parser.read_events()):
                    if event == "start":
                        above.append(_Open(element))
                        continue
                    ended = above.pop()
                    if ended.is_row:
                        number += 1
                        yield Row(number, {**_context(above), **_fields(element)})
                    if len(element) or ended.nested:
                        _forget(element, above)
        parser.close()
    except ElementTree.ParseError as error:
        raise UnreadableFile("broken_xml", f"{container.place}: {error}; repair it") from error


@dataclass(slots=True)
class _Open:
    """An element that has begun."""

    element: ElementTree.Element
    nested: bool = False
    """Whether something in it holds elements itself."""

    @property
    def is_row(self) -> bool:
        return not self.nested and len({child.tag for child in self.element}) > 1


def _forget(element: ElementTree.Element, above: list[_Open]) -> None:
    """What is no field is done with once it ends, so that memory does not grow with the file."""
    element.clear()
    if above:
        above[-1].nested = True
        above[-1].element.remove(element)


def _fields(element: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = dict(element.attrib)
    for child in element:
        found |= child.attrib
        text = (child.text or "").strip()
        if child.tag in found and child.tag not in child.attrib:
            same = found[child.tag]
            found[child.tag] = [*same, text] if isinstance(same, list) else [same, text]
        else:
            found[child.tag] = text
    return found


def _context(above: list[_Open]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element in (opened.element for opened in above):
        found |= element.attrib
        texts = {child.tag: (child.text or "").strip() for child in element if not len(child)}
        found |= {tag: text for tag, text in texts.items() if text}
    return found
