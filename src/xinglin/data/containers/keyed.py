"""One JSON object whose values are rows (PubMedQA, by id), or lists of rows (by section).

    {"21645374": {"QUESTION": "…", "final_decision": "yes"}, …}      {"医疗知识": [{"problem": "…"}, …], …}

The key joins the row as ``id`` or ``section``, unless the row has one.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.containers import Container, Head, Row, _json

TEXT = True


def opens(head: Head) -> bool:
    return _json.shape(head) == "keyed"


def rows(container: Container) -> Iterator[Row]:
    with container.text() as stream:
        reader = _json.Reader(stream, container.place)
        reader.skip("{")
        while True:
            key = reader.value()
            reader.skip(":")
            if reader.next_character() == "[":
                yield from _section(reader, key)
            else:
                value = reader.element()
                yield Row(reader.number, _named("id", key, value))
            if reader.skip(",}") == "}":
                break
        if reader.next_character():
            raise reader.broken("text after the end of the object")


def _section(reader: _json.Reader, key: Any) -> Iterator[Row]:
    reader.skip("[")
    while reader.next_character() != "]":
        value = reader.element()
        yield Row(reader.number, _named("section", key, value))
        if reader.next_character() == ",":
            reader.skip(",")
    reader.skip("]")


def _named(name: str, key: Any, value: Any) -> dict[str, Any]:
    return {name: key, **value} if isinstance(value, dict) else {name: key, "value": value}
