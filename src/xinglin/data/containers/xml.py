"""XML: an element whose children are two fields or more, such as a pair of MedQuAD, is a row.

    <Document source="NIH"><Focus>Asthma</Focus>
      <QAPairs><QAPair pid="1"><Question>…</Question><Answer>…</Answer></QAPair></QAPairs></Document>

What stands above it in single fields and attributes joins the row, unless the row has that name itself.
"""

from collections.abc import Iterator
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
    above: list[ElementTree.Element] = []
    number = 0
    try:
        with container.text() as stream:
            while chunk := stream.read(CHUNK):
                parser.feed(chunk)
                for event, element in cast(Iterator[Event], parser.read_events()):
                    if event == "start":
                        above.append(element)
                        continue
                    above.pop()
                    if _is_row(element):
                        number += 1
                        yield Row(number, {**_context(above), **_fields(element)})
                    # What was a row, or holds rows, is done with; fields stay for the row that they are of.
                    if len(element):
                        element.clear()
        parser.close()
    except ElementTree.ParseError as error:
        raise UnreadableFile("broken_xml", f"{container.place}: {error}; repair it") from error


def _is_row(element: ElementTree.Element) -> bool:
    return len({child.tag for child in element}) > 1 and not any(len(child) for child in element)


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


def _context(above: list[ElementTree.Element]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element in above:
        found |= element.attrib
        texts = {child.tag: (child.text or "").strip() for child in element if not len(child)}
        found |= {tag: text for tag, text in texts.items() if text}
    return found
