"""LLaMA-Factory's dataset_info.json works as it is, with the defaults that its README gives."""

import hashlib
import json
import logging

import pytest

from xinglin.data.sources import Source, files
from xinglin.errors import DataError

ALPACA = [{"instruction": "头疼", "input": "三天", "output": "看医生", "score": 5}]
TURNS = [{"role": "user", "content": "头疼"}, {"role": "assistant", "content": "看医生"}]


@pytest.fixture
def registry(tmp_path):
    """``registry({name: entry}, **files)`` writes a registry and JSON files, and returns its path."""

    def write(entries, **contents):
        folder = tmp_path / "set"
        folder.mkdir()
        for name, rows in contents.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        path = folder / "dataset_info.json"
        path.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
        return path

    return write


def said(record):
    return [(message.role, message.content) for message in record.messages]


def test_defaults_need_no_columns(registry, read_source):
    path = registry({"a": {"file_name": "a.json"}}, a=ALPACA)
    [record] = read_source(f"{path}#a").records
    assert said(record) == [("user", "头疼\n三天"), ("assistant", "看医生")]
    assert dict(record.meta) == {"score": 5}


def test_columns_are_renamed_and_left_out_ones_keep_their_default(registry, read_source):
    rows = [{"q": "头疼", "input": "三天", "a": "看医生", "h": [["您好", "请说"]], "instruction": "旧"}]
    columns = {"prompt": "q", "response": "a", "history": "h", "system": ""}
    path = registry({"a": {"file_name": "a.json", "columns": columns}}, a=rows)
    [record] = read_source(f"{path}#a").records
    assert said(record)[2:] == [("user", "头疼\n三天"), ("assistant", "看医生")]
    assert record.meta["instruction"] == "旧"


def test_tags_name_the_speakers(registry, read_source):
    rows = [
        {"talk": [{"who": "S", "says": "s"}, {"who": "U", "says": "头疼"}, {"who": "A", "says": "看医生"}]}
    ]
    entry = {
        "file_name": "a.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {
            "role_tag": "who",
            "content_tag": "says",
            "user_tag": "U",
            "assistant_tag": "A",
            "system_tag": "S",
        },
    }
    [record] = read_source(f"{registry({'a': entry}, a=rows)}#a").records
    assert said(record) == [("system", "s"), ("user", "头疼"), ("assistant", "看医生")]


@pytest.mark.parametrize(
    ("entry", "row", "kind"),
    [
        ({"columns": {"prompt": "text"}}, {"text": "感冒由病毒引起。"}, "document"),
        ({"formatting": "openai", "columns": {"messages": "messages"}}, {"messages": TURNS}, "conversation"),
        (
            {"ranking": True, "columns": {"chosen": "good", "rejected": "bad"}},
            {"instruction": "头疼", "good": "看医生", "bad": "吃药"},
            "preference",
        ),
        (
            {
                "ranking": True,
                "formatting": "sharegpt",
                "columns": {"chosen": "chosen", "rejected": "rejected"},
            },
            {
                "conversations": [{"from": "human", "value": "头疼"}],
                "chosen": {"from": "gpt", "value": "看医生"},
                "rejected": "吃药",
            },
            "preference",
        ),
    ],
)
def test_every_formatting(registry, read_source, entry, row, kind):
    path = registry({"a": {"file_name": "a.json", **entry}}, a=[row])
    assert read_source(f"{path}#a", kind=kind).account.rows_used == 1


def test_rows_with_images_are_quarantined(registry, read_source):
    rows = [{"messages": TURNS, "images": ["a.png"]}, {"messages": TURNS, "images": []}]
    entry = {
        "file_name": "a.json",
        "formatting": "openai",
        "columns": {"messages": "messages", "images": "images"},
    }
    assert read_source(f"{registry({'a': entry}, a=rows)}#a").reasons == {"has_media": 1}


def test_a_row_that_says_whether_it_is_good_is_no_conversation(registry, read_source):
    entry = {"file_name": "a.json", "columns": {"kto_tag": "good"}}
    path = registry({"a": entry}, a=[*[{**ALPACA[0], "good": False}], ALPACA[0]])
    assert read_source(f"{path}#a", kind="conversation").account.rows_quarantined >= 1


def test_a_folder_is_described_by_its_registry_and_other_files_are_read_too(registry, read_source):
    path = registry(
        {
            "a": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}},
            "far": {"hf_hub_url": "x/y"},
        },
        a=[{"q": "头疼", "a": "看医生"}],
        b=ALPACA,
    )
    reading = read_source(path.parent)
    assert [file.path.rsplit("/", 1)[1] for file in reading.account.files] == ["a.json", "b.json"]
    assert reading.account.rows_used == 2
    assert [p.name for p in files(Source(path=str(path)))] == ["a.json"]


def test_num_samples_are_the_first_rows(registry, read_source):
    path = registry({"a": {"file_name": "a.json", "num_samples": 2}}, a=ALPACA * 5)
    assert read_source(f"{path}#a").account.rows_in == 2


def test_a_file_that_changed_is_told(registry, read_source, caplog):
    good = hashlib.sha1(json.dumps(ALPACA, ensure_ascii=False).encode()).hexdigest()
    path = registry(
        {"a": {"file_name": "a.json", "file_sha1": good}, "b": {"file_name": "a.json", "file_sha1": "0"}},
        a=ALPACA,
    )
    with caplog.at_level(logging.WARNING):
        read_source(f"{path}#a")
        assert not caplog.records
        read_source(f"{path}#b")
    assert "file_sha1 differs" in caplog.text


@pytest.mark.parametrize(
    ("entries", "name", "message"),
    [
        ({"train": {"file_name": "a.json"}}, "trian", "no data set 'trian'; did you mean 'train'"),
        ({"a": {"file_name": "b.json"}}, "a", "b.json: no such file.*did you mean '.*a.json'"),
        (
            {"a": {"hf_hub_url": "x/y"}},
            "a",
            r"'a' is not in a file \(hf_hub_url: x/y\); download it, or name `hub:",
        ),
        ({"a": {"file_name": "a.json", "formatting": "chatml"}}, "a", "formatting is 'chatml', not alpaca"),
        (
            {"a": {"file_name": "a.json", "tags": {"user": "u"}}},
            "a",
            "tags has no 'user'; did you mean 'user_tag'",
        ),
        (
            {"a": {"file_name": "a.json", "columns": {"promt": "q"}}},
            "a",
            "columns has no 'promt'; did you mean 'prompt'",
        ),
        ({"a": {"file_name": "a.json", "columns": "q"}}, "a", "columns is no object of names"),
        ({"a": {"file_name": "a.json", "num_samples": 0}}, "a", "num_samples is 0"),
        (["a"], "a", "no registry of data sets: not an object"),
    ],
)
def test_mistakes_are_named(registry, entries, name, message):
    path = registry(entries, a=ALPACA)
    with pytest.raises(DataError, match=message):
        files(Source(path=f"{path}#{name}"))


def test_one_wrong_entry_is_named_and_the_others_are_read(registry, read_source, caplog):
    entries = {
        "wrong": {"file_name": "b.json", "columns": {"promt": "q"}, "num_samples": "2"},
        "good": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}},
        "twice": {"file_name": "a.json", "formatting": "chatml"},
        "no": 5,
        "path": {"file_name": 5},
    }
    path = registry(entries, a=[{"q": "头疼", "a": "看医生"}], b=ALPACA)
    assert read_source(f"{path}#good").account.rows_used == 1
    with caplog.at_level(logging.WARNING):
        for whole in (path, path.parent):
            good, wrong = read_source(whole).account.files
            assert (good.rows_used, good.unread) == (1, "")
            assert wrong.unread == "bad_registry_entry"
            assert (
                "dataset_info.json: 'wrong': columns has no 'promt'; did you mean 'prompt'"
                in (wrong.examples[wrong.unread])
            )
    assert "'no': is no object; repair it" in caplog.text
    assert "'path': file_name is 5, not text; repair it" in caplog.text


def test_a_column_that_no_row_has_is_named(registry, read_source):
    path = registry({"a": {"file_name": "a.json", "columns": {"prompt": "ques"}}}, a=ALPACA)
    with pytest.raises(DataError, match=r"missing_column, .*no column ques; there are instruction, input"):
        read_source(f"{path}#a")


def test_another_library_s_dataset_info_is_no_registry(registry, read_source):
    path = registry({"builder_name": "json", "features": {}}, a=ALPACA)
    reading = read_source(path.parent)
    assert reading.account.rows_used == 1
    assert [file.unread for file in reading.account.files] == ["", "not_data"]


def test_the_shipped_registry(shared, read_source):
    path = shared / "train" / "llamafactory-demo" / "dataset_info.json"
    assert read_source(f"{path}#identity").account.rows_used == 91
    assert read_source(f"{path}#dpo_zh_demo", kind="preference").account.rows_used == 300
