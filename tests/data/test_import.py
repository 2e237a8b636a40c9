"""Whatever is in a folder: every row is used or quarantined, every file has its account, and nothing is a traceback."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.sources import Source, read
from xinglin.errors import DataError

CHAT = {"messages": [{"role": "user", "content": "头疼三天了"}, {"role": "assistant", "content": "先看医生"}]}
LINES = "".join(json.dumps(CHAT, ensure_ascii=False) + "\n" for _ in range(3))


@pytest.fixture
def junk(tmp_path):
    """A folder as people have it."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("# 说明\n", encoding="utf-8")
    (folder / "convert.py").write_text("print()\n")
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (folder / "empty.json").write_bytes(b"")
    (folder / "blank.csv").write_bytes(b"\n\n")
    (folder / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99)
    (folder / "good.jsonl").write_text(LINES, encoding="utf-8")
    (folder / "deep" / "gbk.json").write_bytes(LINES.encode("gb18030"))
    (folder / "cut.json").write_text(json.dumps([CHAT, CHAT])[:-9])
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(LINES.encode() * 9, mtime=0)[:-12])
    (folder / "quote.csv").write_text('question,answer\na,b\nc,"d\ne,f\n')
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("a.jsonl", LINES)
        archive.writestr("b.bin", bytes(range(256)))
    return folder


def test_a_folder_of_junk_is_read_file_by_file(junk, read_source):
    reading = read_source(junk)
    files = {file.path.removeprefix(f"{junk}/"): file for file in reading.account.files}
    seen = {
        name: (file.container, file.encoding, file.rows_used, file.to_json()["reasons"])
        for name, file in files.items()
    }
    assert seen == {
        "README.md": ("", "", 0, {"not_data": 0}),
        "blank.csv": ("", "", 0, {"empty_file": 0}),
        "convert.py": ("", "", 0, {"not_data": 0}),
        "cut.json": ("array", "utf-8", 1, {"broken_json": 1}),
        "cut.jsonl.gz": ("", "", 0, {"broken_file": 0}),
        "deep/gbk.json": ("lines", "gb18030", 3, {}),
        "empty.json": ("", "", 0, {"empty_file": 0}),
        "good.jsonl": ("lines", "utf-8", 3, {}),
        "image.png": ("", "", 0, {"not_text": 0}),
        "old.xls": ("", "", 0, {"unsupported_file": 0}),
        "quote.csv": ("table", "utf-8", 1, {"broken_table": 1}),
        "set.zip/a.jsonl": ("lines", "utf-8", 3, {}),
        "set.zip/b.bin": ("", "", 0, {"not_text": 0}),
    }
    for key in ("rows_used", "rows_quarantined", "records"):
        assert getattr(reading.account, key) == sum(getattr(file, key) for file in reading.account.files)
    told = files["good.jsonl"].to_json()
    assert {
        "path",
        "format",
        "encoding",
        "rows_in",
        "rows_used",
        "rows_quarantined",
        "reasons",
    } <= told.keys()
    assert reading.account.to_json()["unread"][f"{junk}/image.png"] == "not_text"


@pytest.mark.parametrize(
    "name", ["image.png", "empty.json", "old.xls", "cut.json", "cut.jsonl.gz", "quote.csv"]
)
def test_a_file_that_is_named_has_to_be_readable(junk, read_source, name):
    with pytest.raises(DataError, match=name) as caught:
        read_source(junk / name)
    assert "\n" not in str(caught.value)


def test_a_readme_that_is_named_is_a_document(junk, read_source):
    assert read_source(junk / "README.md").account.rows_used == 1


def test_a_folder_without_a_row_says_why(junk, read_source):
    for path in junk.rglob("*"):
        if path.is_file() and path.name != "image.png":
            path.unlink()
    with pytest.raises(DataError, match=r"image.png: not a text file \(a zero byte at byte 8\)"):
        read_source(junk)


def test_nulls_do_not_hide_a_format(read_rows):
    rows = [
        {**CHAT, "chosen": None, "rejected": None, "label": None},
        {"instruction": "头疼", "input": None, "output": "就医", "chosen": None, "messages": None},
        {"text": "感冒由病毒引起。", "messages": None},
    ]
    reading = read_rows(rows)
    assert (reading.account.formats, reading.reasons) == (
        {"messages": 1, "alpaca": 1},
        {"wrong_record_kind": 1},
    )


def test_a_row_of_50_million_characters_is_one_row(tmp_path, read_source):
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.write(LINES.splitlines()[0] + "\n" + '{"text": "' + "感冒" * 25_000_000 + '"}\n' + LINES)
    reading = read_source(path)
    assert (reading.account.rows_used, reading.reasons) == (4, {"wrong_record_kind": 1})


def test_hub_names_without_a_network_name_the_cure(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    account = SourceAccount()
    source = Source(path="hub:nobody/no-such-set@main")
    with pytest.raises(DataError, match=r"hub:nobody/no-such-set@main: not in the local cache.*hf download"):
        list(read(source, kind=None, account=account, quarantine=None))  # type: ignore[arg-type]


def test_hub_names_are_folders_of_the_cache(tmp_path, monkeypatch, read_source):
    """The cache as huggingface_hub lays it out, so that no network is needed."""
    from huggingface_hub import constants

    commit = "0" * 40
    home = tmp_path / "datasets--me--set"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    snapshot = home / "snapshots" / commit / "data"
    snapshot.mkdir(parents=True)
    (snapshot / "train.jsonl").write_text(LINES, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert read_source("hub:me/set").account.rows_used == 3
    assert read_source("hub:me/set/data@main").account.rows_used == 3


texts = st.sampled_from(["头疼", "先看医生", "", " ", "无", "a\nb", '"', "é", "𠮷", "\u2028", "12"])
rows = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "text", "question", "answer", "options", "A", "label", "问"]),
        inner, max_size=4,
    ),
    max_leaves=9,
) | st.just(CHAT)  # fmt: skip
encodings = st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-be", "big5", "utf-32"])


@st.composite
def contents(draw):
    """The bytes of a file: rows in some layout and encoding, cut, mixed or overwritten somewhere."""
    written = draw(st.lists(rows, min_size=1, max_size=6))
    layout = draw(st.sampled_from(["lines", "array", "pretty", "keyed", "csv", "text"]))
    if layout == "lines":
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in written)
    elif layout == "keyed":
        text = json.dumps(dict(enumerate(written)), ensure_ascii=False)
    elif layout == "csv":
        text = "question,answer\n" + "\n".join(f'"{row}",{row}' for row in written)
    elif layout == "text":
        text = "\n\n".join(str(row) for row in written)
    else:
        text = json.dumps(written, ensure_ascii=False, indent=2 if layout == "pretty" else None)
    raw = text.encode(draw(encodings), "ignore")
    at = draw(st.integers(0, len(raw)))
    damage = draw(st.sampled_from(["none", "cut", "insert", "join", "gzip"]))
    if damage == "cut":
        return raw[:at]
    if damage == "insert":
        return raw[:at] + draw(st.binary(min_size=1, max_size=4)) + raw[at:]
    if damage == "join":
        return raw + b"\n" + text.encode(draw(encodings), "ignore")
    return gzip.compress(raw)[: at or None] if damage == "gzip" else raw


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=contents(),
    name=st.sampled_from(["a.json", "a.jsonl", "a.csv", "a.txt", "a.xml", "a.json.gz", "a"]),
)
def test_any_bytes_are_accounted_for(tmp_path, content, name):
    folder = tmp_path / "fuzz"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(content)
    (folder / "z.jsonl").write_text(LINES, encoding="utf-8")
    for path, kind in ((folder, "conversation"), (folder / name, None)):
        account, side = SourceAccount(), Path(tmp_path, "quarantine.jsonl")
        side.unlink(missing_ok=True)
        made = 0
        with Quarantine(side) as quarantine:
            try:
                for record in read(Source(path=str(path)), kind=kind, account=account, quarantine=quarantine):
                    json.dumps(record.to_json(), ensure_ascii=False).encode()
                    made += 1
            except DataError as error:
                assert path != folder and "\n" not in str(error)
        lines = [json.loads(line) for line in side.read_text(encoding="utf-8").split("\n") if line]
        assert (account.records, account.rows_quarantined) == (made, len(lines))
        assert account.rows_in == sum(file.rows_in for file in account.files)
        if path == folder:
            assert account.files[-1].rows_used == 3 and len(account.files) == 2
            assert account.files[0].rows_in or account.files[0].unread
