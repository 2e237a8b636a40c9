"""Every row that people have is claimed by exactly one format and gives records of it."""

import pytest
from example_rows import EXAMPLES

from xinglin import plugins
from xinglin.data import containers
from xinglin.data.formats import Repair
from xinglin.data.records import Origin, kind_of
from xinglin.data.sources import FORMATS

DETECTED = {
    name: module
    for name, module in ((name, plugins.load(FORMATS, name)) for name in plugins.names(FORMATS))
    if not hasattr(module, "record")
}
ROWS = [(name, row) for name, rows in EXAMPLES.items() for row in rows]


def claiming(row):
    """The formats that claim a row; ``text`` is asked last."""
    claimed = [name for name, format in DETECTED.items() if format.matches(row)]
    return [name for name in claimed if name != "text"] or claimed


def test_every_format_has_examples():
    assert EXAMPLES.keys() == DETECTED.keys()


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ROWS)])
def test_a_row_is_of_one_format(name, row):
    assert claiming(row) == [name]
    format = DETECTED[name]
    options = format.Options(first_option=0) if name == "question" else format.Options()
    made = [item for item in format.parse(row, options, Origin("a", 1)) if not isinstance(item, Repair)]
    assert made and all(kind_of(record) == format.RECORD for record in made)


@pytest.mark.parametrize("name", ["query", "问", "question", "data", "dialogue"])
def test_a_row_that_may_be_a_bad_example_is_no_conversation(name):
    said = {
        "query": "感冒",
        "response": "吃药",
        "问": "感冒",
        "答": "吃药",
        "question": "感冒",
        "answer": "吃药",
    }
    row = said | {"data": ["问：感冒", "答：吃药"], "dialogue": "病人：感冒\n医生：吃药"}
    row = {key: row[key] for key in (name, "response", "答", "answer")} | {"label": False}
    assert not claiming(row)


def test_no_row_of_a_real_file_is_ambiguous(shared):
    checked = 0
    for path in sorted(
        path for path in shared.rglob("*") if path.suffix in (".json", ".jsonl", ".csv", ".tsv", ".txt")
    ):
        container = containers.inspect(path)
        for row in container.rows() if container.has_rows else ():
            value = getattr(row, "value", None)
            assert len(claiming(value)) <= 1, f"{path}:{row.number}"
            checked += 1
    assert checked > 30_000
