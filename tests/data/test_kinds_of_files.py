"""Tables, archives, books and columns: each kind of file gives the rows that were written into it."""

import gzip
import io
import json
import zipfile
from datetime import date

import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import zstandard

from xinglin import plugins
from xinglin.data import containers
from xinglin.data.containers import UnreadableFile
from xinglin.errors import DataError

ROWS = [{"question": "头疼，三天", "answer": "看医生"}, {"question": "fever", "answer": "rest\nand drink"}]
CHAT = {"messages": [{"role": "user", "content": "头疼"}, {"role": "assistant", "content": "看医生"}]}


def read(path):
    """The values of a file's rows, or its lines."""
    found = []
    for file in containers.members(path):
        container = containers.inspect(file)
        found += [row.value for row in container.rows()] if container.has_rows else container.lines()
    return found


def test_every_kind_keeps_the_contract():
    for name in plugins.names(containers.__name__):
        kind = plugins.load(containers.__name__, name)
        assert isinstance(kind.TEXT, bool)
        assert callable(kind.opens)
        assert hasattr(kind, "rows") != hasattr(kind, "lines")
        assert plugins.summary(containers.__name__, name).endswith((".", ":"))


def test_excel(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["question", "answer", None, "day"])
    book.active.append(["头疼", 38.5, "no heading", date(2020, 1, 2)])
    book.active.append([])
    book.active.append(["fever", 3.0, None, None])
    second = book.create_sheet("more")
    second.append(["question", "answer"])
    second.append(["cough", True])
    book.save(tmp_path / "rows.xlsx")
    assert read(tmp_path / "rows.xlsx") == [
        {"question": "头疼", "answer": "38.5", "day": "2020-01-02 00:00:00"},
        {"question": "fever", "answer": "3", "day": ""},
        {"question": "cough", "answer": "True"},
    ]
    numbers = [row.number for row in containers.inspect(tmp_path / "rows.xlsx").rows()]
    assert numbers == [2, 4, 6]


def test_parquet_and_arrow(tmp_path):
    """Rows of several shapes share a schema: what a row does not have is not there."""
    rows = [{**CHAT, "day": date(2020, 1, 2)}, {"text": "感冒", "image": b"\x89PNG"}]
    table = pa.Table.from_pylist(rows, schema=pa.schema([
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("day", pa.date32()), ("text", pa.string()), ("image", pa.binary()),
    ]))  # fmt: skip
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    pa.feather.write_feather(table, str(tmp_path / "rows.feather"), compression="uncompressed")
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as stream:
        stream.write_table(table)
    (tmp_path / "packed.parquet.gz").write_bytes(gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    for name in ("rows.parquet", "rows.feather", "stream.arrow", "packed.parquet.gz"):
        assert read(tmp_path / name) == [{**CHAT, "day": "2020-01-02"}, {"text": "感冒", "image": "4 bytes"}]


def test_xml_of_pairs(tmp_path):
    (tmp_path / "asthma.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><Document id="7" source="NIH"><Focus>Asthma</Focus>'
        "<FocusAnnotations><UMLS><CUIs><CUI>C01</CUI></CUIs><SemanticGroup>Disorders</SemanticGroup></UMLS>"
        '</FocusAnnotations><QAPairs><QAPair pid="1"><Question qid="7-1" qtype="information">What is it?</Question>'
        "<Answer>A disease &lt;of the lungs&gt;.</Answer></QAPair><QAPair pid='2'><Question>Who?</Question>"
        "<Answer/></QAPair></QAPairs></Document>",
        encoding="utf-8",
    )
    first, second = read(tmp_path / "asthma.xml")
    assert first == {
        "id": "7", "source": "NIH", "Focus": "Asthma", "pid": "1", "qid": "7-1", "qtype": "information",
        "Question": "What is it?", "Answer": "A disease <of the lungs>.",
    }  # fmt: skip
    assert (second["pid"], second["Answer"]) == ("2", "")


WORD = (
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>感冒</w:t></w:r></w:p>'
    "<w:p><w:r><w:t>由病毒</w:t></w:r><w:r><w:t>引起。</w:t></w:r></w:p></w:body></w:document>"
)


def test_word(tmp_path):
    with zipfile.ZipFile(tmp_path / "book.docx", "w") as archive:
        archive.writestr("word/document.xml", WORD)
    assert read(tmp_path / "book.docx") == ["\n感冒\n", "由病毒引起。\n"]


def pdf(text: str) -> bytes:
    """A page with one line of text."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() if text else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def test_pdf(tmp_path):
    (tmp_path / "book.pdf").write_bytes(pdf("Influenza is a virus."))
    assert read(tmp_path / "book.pdf") == ["Influenza is a virus.\n"]
    (tmp_path / "scan.pdf").write_bytes(pdf(""))
    with pytest.raises(
        UnreadableFile, match="a PDF without text, perhaps scanned; run it through OCR"
    ) as caught:
        read(tmp_path / "scan.pdf")
    assert caught.value.reason == "no_text"


def test_archives_hold_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("b/rows.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
        archive.writestr("a.csv.gz", gzip.compress("question,answer\n头疼,看医生\n".encode("gb18030")))
        archive.writestr("rows.json.zst", zstandard.compress(json.dumps(ROWS).encode()))
        archive.writestr("__MACOSX/._rows.jsonl", b"\x00\x05")
        archive.writestr(".hidden", "x")
        archive.writestr("b/", "")
    assert [str(file) for file in containers.members(tmp_path / "set.zip")] == [
        f"{tmp_path}/set.zip/{name}" for name in ("a.csv.gz", "b/rows.jsonl", "rows.json.zst")
    ]
    assert read(tmp_path / "set.zip") == [{"question": "头疼", "answer": "看医生"}, *ROWS, *ROWS]


def test_objects_whose_values_are_rows(tmp_path):
    by_id = {"7": {"QUESTION": "a", "YEAR": None}, "8": {"QUESTION": "b", "id": "own"}}
    sections = {"知识": [{"problem": "a"}, {"problem": "b"}], "空": [], "安全": [{"problem": "c"}]}
    for indent in (None, 2):
        (tmp_path / "id.json").write_text(json.dumps(by_id, indent=indent))
        assert read(tmp_path / "id.json") == [{"id": "7", "QUESTION": "a", "YEAR": None}, by_id["8"]]
        (tmp_path / "sections.json").write_text(json.dumps(sections, indent=indent))
        assert [row["section"] for row in read(tmp_path / "sections.json")] == ["知识", "知识", "安全"]


@pytest.mark.parametrize(
    "row",
    [
        CHAT,
        {"chosen": {"role": "a", "content": "b"}, "rejected": {"role": "a", "content": "c"}},
        {"options": {"A": "a"}, "meta": {"A": "b"}},
        {"tools": [{"name": "f"}], "messages": CHAT["messages"]},
        {"conversation": [{"human": "a", "assistant": "b"}]},
        {"meta": {"a": 1}, "text": "b"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_row_alone_in_a_file_is_a_row(tmp_path, row, indent):
    (tmp_path / "one.json").write_text(json.dumps(row, indent=indent))
    assert read(tmp_path / "one.json") == [row]


def test_big5_and_gb18030_are_told_apart(tmp_path):
    old = "醫生您好，我的頭很痛，請問應該怎麼治療呢？謝謝您的回答。\n" * 3
    new = "医生您好，我的头很痛，请问应该怎么治疗呢？谢谢您的回答。\n" * 3
    for text, encoding in (
        (old, "big5"),
        (new, "gb18030"),
        (old, "gb18030"),
        (old, "utf-8"),
        (new, "utf-16"),
    ):
        (tmp_path / "a.txt").write_bytes(text.encode(encoding))
        assert "".join(read(tmp_path / "a.txt")) == text, encoding


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        (encoding, bad)
        for encoding in ("gb18030", "big5", "utf-8")
        for bad in ("utf-8", "gb18030", "broken")
        if encoding != bad
    ],
)
def test_lines_in_another_encoding_are_marked_and_no_others(tmp_path, encoding, bad):
    good = json.dumps({"text": "醫生您好，請問我的頭很痛應該怎麼治療"}, ensure_ascii=False)
    other = "医生您好，我的头很痛，请问应该怎么治疗呢？谢谢您的回答"
    wrong = (
        b"\xff\xfe\x80" * 9
        if bad == "broken"
        else json.dumps({"text": other}, ensure_ascii=False).encode(bad)
    )
    lines = [good.encode(encoding)] * 9
    lines.insert(4, wrong)
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows = list(containers.inspect(tmp_path / "a.jsonl").rows())
    whole = [row for row in rows if getattr(row, "value", None) == json.loads(good)]
    assert len(rows) == 10
    if (encoding, bad) == ("big5", "gb18030"):  # most of its characters are some of Big5, too
        assert len(whole) == 9
    else:
        assert [bool(containers.fault(getattr(row, "value", None) or row.raw)) for row in rows].index(
            True
        ) == 4
        assert len(whole) == 9


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.xlsx", b"PK\x03\x04" + b"\x00" * 30),
        ("cut.parquet", b"PAR1 and no more"),
        ("cut.arrow", b"ARROW1\0\0 and no more"),
        ("cut.pdf", b"%PDF-1.4\n1 0 obj\n"),
        ("cut.xml", b"<?xml version='1.0'?><a><b>1</b><c>2</c>"),
        ("cut.jsonl.zst", zstandard.compress(b'{"text": "a"}\n' * 99)[:-5]),
        ("cut.csv.bz2", b"BZh91AY&SY no such stream"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99),
    ],
)
def test_damaged_files_are_one_message(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=name) as caught:
        read(tmp_path / name)
    assert caught.value.reason in ("broken_file", "broken_xml", "unsupported_file")
    assert "\n" not in str(caught.value)


def test_broken_files_name_a_cure_and_nothing_else_is_said(tmp_path, capfd):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("a.jsonl", '{"text": "a"}\n')
    locked = bytearray(archive.getvalue())
    locked[6] |= 1  # the flag of encryption, there and in the directory
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    (tmp_path / "cut.xlsx").write_bytes(b"PK\x03\x04" + b"\x00" * 30)
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n<<>>\n" + b"x" * 500)
    cures = {"locked.zip": "unpack it with its password"}
    for name in ("locked.zip", "cut.xlsx", "cut.pdf"):
        with pytest.raises(
            UnreadableFile, match=cures.get(name, "damaged or cut off, so fetch or save it again")
        ):
            read(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_library_that_is_missing_is_named_with_its_cure(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"a.parquet: .*needs pyarrow.*pip install 'xinglin\[files\]'"):
        read(tmp_path / "a.parquet")


def test_an_archive_in_an_archive_is_refused(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.txt", "x")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    with pytest.raises(UnreadableFile, match=r"outer.zip/inner.zip: .*unpack it"):
        read(tmp_path / "outer.zip")
