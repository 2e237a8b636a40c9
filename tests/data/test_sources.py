"""Sources: which files, which format, every row counted, and messages that name place and cure."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.data.records import KINDS
from xinglin.data.sources import FORMATS, Source, content_hash, files
from xinglin.errors import DataError

CHAT = {"messages": [{"role": "user", "content": "头疼"}, {"role": "assistant", "content": "看医生"}]}
ALPACA = {"instruction": "头疼", "input": "", "output": "看医生"}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_format_keeps_the_contract():
    for name in plugins.names(FORMATS):
        format = plugins.load(FORMATS, name)
        assert (format.RECORD in KINDS.values()) != hasattr(format, "record")
        assert format.UNIT in ("row", "file")
        assert issubclass(format.Options, Config)
        assert callable(format.matches)
        assert callable(format.parse)
        assert hasattr(format, "cut") == (format.UNIT == "file")
        assert plugins.summary(FORMATS, name).endswith(".")


def test_a_folder_is_read_sorted_and_without_hidden_files(tmp_path, read_source):
    write(tmp_path / "in" / "b.jsonl", [CHAT])
    write(tmp_path / "in" / "a" / "c.json", [ALPACA, CHAT])
    write(tmp_path / "in" / ".cache" / "x.jsonl", [CHAT])
    reading = read_source(tmp_path / "in")
    assert [str(record.origin) for record in reading.records] == [
        f"{tmp_path}/in/a/c.json:1",
        f"{tmp_path}/in/a/c.json:2",
        f"{tmp_path}/in/b.jsonl:1",
    ]
    assert reading.account.to_json() == {
        "format": "alpaca, messages",
        "rows_in": 3,
        "rows_used": 3,
        "rows_quarantined": 0,
        "records": 3,
        "reasons": {},
        "repairs": {},
    }


def test_globs_and_names_that_look_like_globs(tmp_path):
    write(tmp_path / "[1].jsonl", [CHAT])
    write(tmp_path / "2.jsonl", [CHAT])
    assert [path.name for path in files(Source(path=f"{tmp_path}/[1].jsonl"))] == ["[1].jsonl"]
    assert [path.name for path in files(Source(path=f"{tmp_path}/*.jsonl"))] == ["2.jsonl", "[1].jsonl"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "in/trian.jsonl",
            r"in/trian.jsonl: no such file, folder or match; did you mean '.*in/train.jsonl'\?",
        ),
        ("inn/train.jsonl", r"did you mean '.*in'\?"),
        ("in/*.csv", r"'.*in' holds dev.jsonl, train.jsonl"),
        ("empty", r"empty: the folder holds no file"),
    ],
)
def test_nothing_there_names_what_is(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "in" / "train.jsonl", [CHAT])
    write(tmp_path / "in" / "dev.jsonl", [CHAT])
    with pytest.raises(DataError, match=message):
        files(Source(path=str(tmp_path / path)))


def test_content_hash_follows_the_bytes_only(tmp_path):
    one, two = write(tmp_path / "one.jsonl", [CHAT]), write(tmp_path / "two.jsonl", [CHAT])
    assert content_hash(Source(path=str(one))) == content_hash(Source(path=str(two), format="messages"))
    before = content_hash(Source(path=str(tmp_path)))
    write(two, [CHAT, CHAT])
    assert content_hash(Source(path=str(one))) != content_hash(Source(path=str(two)))
    assert content_hash(Source(path=str(tmp_path))) != before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"format": "alpca"}, "unknown format 'alpca'; did you mean 'alpaca'"),
        (
            {"format": "text", "options": {"document": "lines"}},
            r"options.document: got the text 'lines', expected 'file', 'block' or 'paragraph'",
        ),
        (
            {"format": "text", "options": {"documents": "file"}},
            "options.documents: unknown key; did you mean 'document'",
        ),
        ({"options": {"document": "file"}}, "options need a format"),
        ({"max_rows": 0}, "max_rows"),
        ({"licens": "MIT"}, "licens"),
    ],
)
def test_wrong_sources_are_found_before_anything_is_read(source, message):
    with pytest.raises(ValidationError, match=message):
        Source(path="nowhere", **source)


def test_a_link_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to("gone.jsonl")
    for path in (link, tmp_path):
        with pytest.raises(DataError, match=r"link.jsonl: a link to gone.jsonl, which is not there"):
            files(Source(path=str(path)))


def test_pages_in_an_archive_are_no_data(tmp_path: Path, read_source) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("main/README.md", "What is in here.")
        archive.writestr("main/load.py", "print(1)")
        archive.writestr("main/rows.jsonl", json.dumps(CHAT))
    reading = read_source(tmp_path / "set.zip")
    assert len(reading.records) == 1
    assert [file.unread for file in reading.account.files] == ["not_data", "not_data", ""]


def test_folders_behind_links_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "rows.jsonl", [CHAT])
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    assert files(Source(path=str(folder))) == [folder / "linked" / "rows.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_what_may_not_be_opened_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [CHAT])
    file.chmod(0)
    with pytest.raises(DataError, match=r"rows.jsonl: cannot be read \(Permission denied\)"):
        content_hash(Source(path=str(tmp_path)))
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match=r"closed: the folder cannot be opened \(Permission denied\)"):
        files(Source(path=str(tmp_path)))


def test_every_row_is_used_or_quarantined_with_its_reason(tmp_path, read_source):
    path = tmp_path / "mixed.json"
    rows = [CHAT, ALPACA, {"a": 1}, {"messages": CHAT["messages"][:1]}, 7, {"text": "x"}]
    write(path, rows)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"broken": \n\n{"instruction": "\\ud83d", "output": "b"}\n')
    reading = read_source(path, kind="conversation", licence="MIT")
    assert [(line["row"], line["reason"]) for line in reading.quarantined] == [
        (3, "unknown_format"),
        (4, "no_answer"),
        (5, "unknown_format"),
        (6, "wrong_record_kind"),
        (7, "not_json"),
        (9, "bad_encoding"),
    ]
    assert reading.quarantined[0]["raw"] == '{"a": 1}'
    assert reading.quarantined[4]["raw"] == '{"broken": '
    assert all(record.origin.licence == "MIT" for record in reading.records)


def test_without_a_kind_the_first_usable_row_sets_it(tmp_path, read_source):
    path = write(tmp_path / "mixed.jsonl", [{"a": 1}, {"text": "x"}, CHAT, {"text": "y"}])
    assert read_source(path).reasons == {"unknown_format": 1, "wrong_record_kind": 1}


def test_a_row_nested_as_deep_as_json_allows_is_one_row(tmp_path, read_source):
    path = write(tmp_path / "deep.jsonl", [CHAT])
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f'{{"a": {"[" * depth}{"]" * depth}}}\n' for depth in (100, 900, 5000))
    assert read_source(path).reasons == {"too_deep": 2, "not_json": 1}


def test_quarantine_keeps_2000_characters(tmp_path, read_source):
    path = write(tmp_path / "long.jsonl", [CHAT, {"a": "x" * 5000}])
    assert len(read_source(path).quarantined[0]["raw"]) == 2000


def test_damaged_bytes_reach_the_quarantine_as_escapes(tmp_path, read_source):
    path = tmp_path / "damaged.jsonl"
    line = json.dumps({"text": "感冒由病毒引起，多休息。"}, ensure_ascii=False).encode()
    path.write_bytes(line + b'\n{"text": "\xb8\xd0"}\n')
    reading = read_source(path)
    assert reading.reasons == {"bad_encoding": 1}
    assert reading.quarantined[0]["raw"].encode("utf-8", "surrogateescape") == b'{"text": "\xb8\xd0"}'


def test_max_rows_counts_rows_taken_over_all_files(tmp_path, read_source):
    write(tmp_path / "a.jsonl", [CHAT, {"a": 1}])
    write(tmp_path / "b.jsonl", [CHAT, CHAT])
    (tmp_path / "c.jsonl").write_bytes(b"\x00 not even text")
    reading = read_source(tmp_path, max_rows=3)
    assert (reading.account.rows_in, reading.account.rows_used) == (3, 2)


def test_a_row_that_xinglin_wrote_keeps_its_origin(tmp_path, read_source):
    path = write(
        tmp_path / "again.jsonl",
        [{**CHAT, "origin": {"file": "first.txt", "row": 9}}, {**CHAT, "origin": "web"}],
    )
    first, second = read_source(path, licence="MIT").records
    assert (str(first.origin), first.origin.licence, dict(first.meta)) == ("first.txt:9", "MIT", {})
    assert (str(second.origin), dict(second.meta)) == (f"{path}:2", {"origin": "web"})


@pytest.mark.parametrize(
    ("rows", "source", "kind", "message"),
    [
        ([{"q": 1}] * 3, {}, None, r"none of 3 rows .* \(3 unknown_format, .*in.jsonl:1: keys q\); name the format"),
        ([ALPACA], {"format": "messages"}, None, r":1: no row of 'messages': .*; is 'alpaca'\); leave `format:`"),
        ([CHAT], {}, "document", r"1 wrong_record_kind, such as .*'messages' makes conversation, not document"),
        ([CHAT], {"format": "messages"}, "document", r"'messages' makes conversation records, not document"),
        ([{"messages": []}], {}, None, r"1 empty, such as .*quarantine.jsonl"),
        ([{f"key{n}": n for n in range(99)}], {}, None, r"key7, …\)"),
    ],
)  # fmt: skip
def test_no_usable_row_is_one_clear_message(tmp_path, read_source, rows, source, kind, message):
    path = write(tmp_path / "in.jsonl", rows)
    with pytest.raises(DataError, match=message) as caught:
        read_source(path, kind=kind, **source)
    assert "\n" not in str(caught.value)


def test_an_array_without_rows_is_refused(tmp_path, read_source):
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(DataError, match=r"none.json: holds no row"):
        read_source(tmp_path / "none.json")


def test_plain_text_for_a_format_of_rows_is_refused(tmp_path, read_source):
    (tmp_path / "book.txt").write_text("感冒由病毒引起。", encoding="utf-8")
    with pytest.raises(DataError, match=r"book.txt: a plain text file without rows of 'alpaca'"):
        read_source(tmp_path / "book.txt", format="alpaca")


def test_samples_are_sources(read_source):
    reading = read_source("sample:exam", kind="question", max_rows=20)
    assert reading.account.rows_used == 20
    assert str(reading.records[0].origin) == "sample:exam:1"
    source = Source(path="sample:exam")
    assert {path.name for path in files(source)} >= {"__init__.py", "facts.yaml"}
    assert len(content_hash(source)) == 64
    with pytest.raises(DataError, match="did you mean 'exam'"):
        read_source("sample:exams")


def test_accounting_holds_on_every_real_file(shared, read_source):
    """Whatever the file: rows in = used + quarantined (checked by the fixture), or one clear refusal."""
    for path in sorted(path for path in (shared / "train").glob("*/*") if path.is_file()):
        try:
            reading = read_source(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: none of ")
        else:
            assert reading.account.rows_used


def test_bare_strings_of_several_sorts_are_told_apart(tmp_path, read_source):
    case = "id=1\nhttps://www.haodf.com/1\n\nDialogue\n病人：\n咳嗽一周了。\n医生：\n多休息。\n"
    write(tmp_path / "in" / "a.jsonl", ["感冒是由病毒引起的。"])
    (tmp_path / "in" / "b.txt").write_text(case, encoding="utf-8")
    write(tmp_path / "in" / "c.jsonl", ["流感与感冒不同。"])
    reading = read_source(tmp_path / "in", kind="any")
    assert [type(record).__name__ for record in reading.records] == ["Document", "Conversation", "Document"]
