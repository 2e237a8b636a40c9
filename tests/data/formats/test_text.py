"""Plain text, cut by file, block and paragraph; rows of text; bare strings."""

import pytest

TEXT = "第一章\n传染病是指由病原微生物引起的疾病。\n\n\n  \n第二章\n流感由病毒引起。"


@pytest.mark.parametrize(
    ("document", "texts", "rows"),
    [
        ("file", [TEXT], [1]),
        ("block", ["第一章\n传染病是指由病原微生物引起的疾病。", "第二章\n流感由病毒引起。"], [1, 6]),
        (
            "paragraph",
            ["第一章", "传染病是指由病原微生物引起的疾病。", "第二章", "流感由病毒引起。"],
            [1, 2, 6, 7],
        ),
    ],
)
def test_documents_of_a_file(tmp_path, read_source, document, texts, rows):
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    reading = read_source(path, format="text", options={"document": document})
    assert [record.text for record in reading.records] == texts
    assert [record.origin.row for record in reading.records] == rows


def test_blocks_are_the_default_and_no_line_is_lost(tmp_path, read_source):
    path = tmp_path / "book.md"
    path.write_text(TEXT, encoding="utf-8")
    reading = read_source(path)
    assert len(reading.records) == 2
    kept = "\n".join(record.text for record in reading.records).split("\n")
    assert kept == [line for line in TEXT.split("\n") if line.strip()]


def test_rows_keep_what_they_carry(read_rows):
    reading = read_rows([{"text": "感冒", "department": "内科"}, "流感", {"text": "  "}], licence="MIT")
    assert [(record.text, dict(record.meta)) for record in reading.records] == [
        ("感冒", {"department": "内科"}),
        ("流感", {}),
    ]
    assert reading.records[0].origin.licence == "MIT"
    assert reading.reasons == {"empty": 1}
