"""Containers are told by content; encodings are strict; one bad row costs one row, a broken file says so."""

import bz2
import gzip
import json
import lzma

import pytest
import zstandard

from xinglin.data import containers
from xinglin.data.containers import Row, Unreadable, _encoding, _json
from xinglin.errors import DataError

ROWS = [{"text": "感冒由病毒引起。"}, {"text": 'quotes " and \\ and\nnewline'}, {"text": "流感疫苗"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def values(path):
    return [row.value for row in containers.inspect(path).rows()]


@pytest.fixture
def write(tmp_path):
    def run(content: str | bytes, name: str = "data.bin"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return run


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.txt", "rows.csv", "rows"])
@pytest.mark.parametrize(
    ("shape", "content"),
    [
        ("lines", LINES),
        ("lines", "\n\n" + LINES.replace("\n", "\r\n")),
        ("array", json.dumps(ROWS)),
        ("array", json.dumps(ROWS, indent=2, ensure_ascii=False)),
        ("array", "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n"),
        ("values", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    ],
)
def test_the_name_does_not_matter(write, name, shape, content):
    path = write(content, name)
    assert containers.inspect(path).kind == shape
    assert values(path) == ROWS


def test_rows_that_are_lists(write):
    rows = [["病人：a", "医生：b"], ["病人：c", "医生：d"]]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert values(write(lines)) == values(write(json.dumps(rows))) == rows
    assert values(write(json.dumps(rows[0]), "one.jsonl")) == rows[:1]
    assert values(write(json.dumps(rows[0]), "strings.json")) == rows[0]
    assert values(write("[]")) == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
@pytest.mark.parametrize("rows", [[1, 2.5, -3], [None, True], [[1, 2], [3]], ["感冒是病。", "糖尿病也是。"]])
def test_bare_values_are_rows_by_the_name_of_their_file(write, name, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert values(write(lines, name)) == rows
    assert values(write(json.dumps(rows, indent=1), name)) == rows
    assert containers.inspect(write(lines, "book.txt")).kind == "text"


@pytest.mark.parametrize(
    "text", ["[1] 参考文献", "{患者} 主诉", "感冒, 流感, 肺炎\n咳嗽, 发热, 乏力", "# 标题\n正文"]
)
def test_text_is_text(write, text):
    assert containers.inspect(write(text, "book.txt")).kind == "text"


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("gb18030"),
        lambda text: gzip.compress(text.encode("gb18030")),
        lambda text: gzip.compress(text.encode("utf-8-sig")),
        lambda text: bz2.compress(text.encode("gb18030")),
        lambda text: lzma.compress(text.encode()),
        lambda text: zstandard.compress(text.encode("gb18030")),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
    ],
)
def test_encodings(write, encode, monkeypatch):
    for module in (_encoding, _json):
        monkeypatch.setattr(module, "CHUNK", 7)  # characters are cut by every chunk
    assert values(write(encode(LINES))) == ROWS
    table = 'ask,answer\n"头疼,\n三天","看""神经""内科"\n'
    assert values(write(encode(table), "t.csv")) == [{"ask": "头疼,\n三天", "answer": '看"神经"内科'}]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 16, 1000])
def test_arrays_do_not_depend_on_the_window(write, chunk, monkeypatch):
    monkeypatch.setattr(_json, "CHUNK", chunk)
    rows = [*ROWS, 12345, -1.5e-7, True, None, [], {"a": {"b": ["\\u2028", "\u2028", "😀"]}}, "x" * 99]
    assert values(write(json.dumps(rows, indent=1))) == rows
    assert values(write(json.dumps(rows, ensure_ascii=False))) == rows


def test_arrays_are_read_in_bounded_memory(write, monkeypatch):
    monkeypatch.setattr(_json, "CHUNK", 1000)
    path = write(json.dumps([{"text": "感冒" * 50}] * 2000))
    longest = 0
    fill = _json.Reader._fill

    def watched(reader):
        nonlocal longest
        filled = fill(reader)
        longest = max(longest, len(reader._window))
        return filled

    monkeypatch.setattr(_json.Reader, "_fill", watched)
    assert len(values(path)) == 2000
    assert longest < 4000


@pytest.mark.parametrize(
    "bad", ['{"text": "cut', "no json", '{"text": "a"} {"text": "b"}', "[" * 9000, "{'text': 'a'}"]
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_line_that_is_not_json_costs_one_row(write, bad, place):
    lines = LINES.splitlines()
    lines.insert(place, bad)
    got = list(containers.inspect(write("\n".join(lines))).rows())
    assert [row.value for row in got if isinstance(row, Row)] == ROWS
    [unreadable] = [row for row in got if isinstance(row, Unreadable)]
    assert (unreadable.number, unreadable.reason, unreadable.raw) == (place + 1, "not_json", bad)


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a"}, {"text": "b"',
        '[{"text": "a"}, {"text": "b"}',
        '[{"text": "a"} {"text": "b"}]',
        '[{"text": "a"}, {"text": b}]',
        '[{"text": "a"}, ]',
        '[{"text": "a"}] and more',
        '[{"text": "a"}, ' + "[" * 100_000,
    ],
)
def test_a_broken_array_is_refused_with_its_place(write, content):
    with pytest.raises(DataError, match=r"data.bin: the JSON breaks after element [12]: .*JSON Lines"):
        values(write(content))


def test_tables(write):
    text = "department\tanswer\n内科\t多喝水\n\n外科\n儿科\t看\t医生\n"
    got = list(containers.inspect(write(text, "t.tsv")).rows())
    assert got[0] == Row(2, {"department": "内科", "answer": "多喝水"})
    assert [(row.number, row.reason) for row in got[1:]] == [(4, "bad_table_row"), (5, "bad_table_row")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n", r"t.csv:1: two columns have the same name"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"t.csv:3: a quote opens here and never closes"),
    ],
)
def test_broken_tables_are_refused(write, text, message):
    with pytest.raises(DataError, match=message):
        values(write(text, "t.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not a text file"),
        (bytes(range(256)) * 9, "not a text file"),
        (b"caf\xe9 \xff", "not a text file .*UTF-8 fails at byte 3"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 sheet", "save it as .xlsx"),
        (b" \n\n", "empty"),
        (b"", "empty"),
        (gzip.compress(LINES.encode(), mtime=0)[:-9], r"cannot be read \(.*\); damaged or cut off, so fetch"),
        (gzip.compress(LINES.encode(), mtime=0)[:12] + b"\xff" * 50, "cannot be read"),
    ],
)
def test_what_is_no_text_is_refused(write, content, message):
    with pytest.raises(DataError, match=r"data.bin: .*" + message):
        containers.inspect(write(content))


def test_damaged_utf8_is_not_taken_for_gb18030(write):
    """A stray byte pair that GB18030 could read must not turn a UTF-8 file into mojibake."""
    good = LINES.encode()
    container = containers.inspect(write(good + b'{"text": "\xb8\xd0\xc3\xb0"}\n' + good))
    assert container.encoding == _encoding.Encoding("utf-8", "mark")
    got = [row.value for row in container.rows()]
    assert [bool(containers.fault(value)) for value in got] == [False] * 3 + [True] + [False] * 3
    assert got[:3] == got[4:] == ROWS


def test_every_row_of_the_real_gb18030_table(shared):
    """Splitting at commas would lose 950 of these rows."""
    rows = values(shared / "train" / "toyhom" / "sample_neike_5000-6000.gbk.csv")
    assert len(rows) == 7644
    assert all(row.keys() == {"department", "title", "ask", "answer"} for row in rows)
