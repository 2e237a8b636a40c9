"""COVID-Dialogue: the raw grammar on a made-up consultation, and the published per-turn set byte for byte."""

import hashlib
import json

import pytest

from xinglin.errors import DataError

RAW = """id=1
https://example.org/1

Doctor faculty
某医院  呼吸科

Description
疾病： 咳嗽
病情描述： 医生，您好！
咳嗽一周了。

Dialogue
预约医生： 某某
医生：
感谢您的信任，病情资料我已详细阅读。
医生：
发烧吗？
有痰吗？
病人：
不烧。
病人：
没有痰。

Dialogue
医生：
拍过片吗？
病人：
没有，谢谢。

Diagnosis and suggestions
病情摘要及初步印象： 上呼吸道感染
总结建议： 多休息。
多喝水。
处置建议： 一周后复查。

id=2
https://example.org/2

Description
疾病： 头疼

Dialogue
病人：
在吗？

id=3
https://example.org/3

Description
I have cough.

Dialogue
Patient:
Is it dangerous?
Doctor:
No.
Patient:
Thanks.
"""

LINES = [
    "病人：咳嗽一周了。",
    "医生：感谢您的信任，病情资料我已详细阅读。",
    "病人：急。",
    "医生：多久？",
    "病人：七天。",
    "医生：请拍片看看。",
]


def test_raw_consultations_are_told_by_their_text_and_kept_whole(tmp_path, read_source):
    path = tmp_path / "raw.txt"
    path.write_text(RAW, encoding="utf-8")
    reading = read_source(path)
    first, second = reading.records
    assert [(message.role, message.content) for message in first.messages] == [
        ("user", "疾病： 咳嗽\n病情描述： 医生，您好！\n咳嗽一周了。"),
        ("assistant", "发烧吗？\n有痰吗？"),
        ("user", "不烧。\n没有痰。"),
        ("assistant", "拍过片吗？"),
        ("user", "没有，谢谢。"),
        ("assistant", "多休息。\n多喝水。\n一周后复查。"),
    ]
    assert first.meta["diagnosis"].startswith("病情摘要及初步印象： 上呼吸道感染\n总结建议")
    assert [message.content for message in second.messages] == ["I have cough.\nIs it dangerous?", "No."]
    line = lambda text: RAW.split("\n").index(text) + 1
    assert (first.origin.row, second.origin.row) == (line("id=1"), line("id=3"))
    assert reading.reasons == {"no_answer": 1}
    assert reading.quarantined[0]["row"] == line("id=2")
    assert reading.account.repairs == {
        "line_without_speaker_dropped": 1,
        "empty_turn_dropped": 1,
        "repeated_speaker_merged": 2,
        "unanswered_dropped": 1,
    }


@pytest.mark.parametrize("row", [LINES, {"Turn": 3, "Id": 9, "Dialogue": LINES}])
def test_clean_variant_of_processed_rows(read_rows, row):
    reading = read_rows([row])
    [record] = reading.records
    assert [message.content for message in record.messages] == [
        "咳嗽一周了。\n急。",
        "多久？",
        "七天。",
        "请拍片看看。",
    ]
    assert all(message.train for message in record.messages)
    assert dict(record.meta) == ({"Turn": 3, "Id": 9} if isinstance(row, dict) else {})


def test_per_turn_keeps_short_answers_in_history_only(read_rows):
    options = {"variant": "per_turn_filtered"}
    reading = read_rows([LINES, LINES[:2]], format="covid_dialogue", options=options)
    [record] = reading.records
    assert [(message.content, message.train) for message in record.messages] == [
        ("咳嗽一周了。", True),
        ("", False),
        ("急。", True),
        ("多久？", False),
        ("七天。", True),
        ("请拍片看看。", True),
    ]
    assert reading.reasons == {"no_answer": 1}
    assert reading.account.repairs == {"short_answer_only_in_history": 2}


def test_per_turn_counts_characters_after_the_boilerplate_and_strips_nothing(read_rows):
    row = ["病人：a", "医生：根据您现有的资料，建议：四个字符", "病人：b", "医生： 五个字符", "病人：c"]
    options = {"variant": "per_turn_filtered"}
    [record] = read_rows([row], format="covid_dialogue", options=options).records
    assert [message.content for message in record.messages] == ["a", "四个字符", "b", " 五个字符"]


def test_per_turn_of_raw_text_is_refused_with_the_cure(tmp_path, read_source):
    path = tmp_path / "raw.txt"
    path.write_text(RAW, encoding="utf-8")
    with pytest.raises(DataError, match=r"needs_processed_json.*JSON files"):
        read_source(path, format="covid_dialogue", options={"variant": "per_turn_filtered"})


PUBLISHED = {
    "train": (3471, "3cf626b7d6576c9717430c55b8dbc6741f9dac59"),
    "validate": (333, "f0e5d6a9ec7dc660f3188c4bb73a6bac23c91ce6"),
    "test": (410, "ed1d057f5d87aa5604a41f211ffba66bdf43c562"),
}


@pytest.mark.parametrize("split", PUBLISHED)
def test_per_turn_is_the_published_set(shared, read_source, split):
    """Written in the published form, our samples have the SHA-1 that its dataset_info.json states."""
    samples, sha1 = PUBLISHED[split]
    reading = read_source(
        shared / "train" / "covid-dialogue" / f"{split}_data.json",
        kind="conversation",
        format="covid_dialogue",
        options={"variant": "per_turn_filtered"},
    )
    assert len(reading.records) == samples
    published = json.dumps([_published(record) for record in reading.records], ensure_ascii=False, indent=2)
    assert hashlib.sha1(published.encode()).hexdigest() == sha1
    assert all(
        [m.train for m in record.messages if m.role == "assistant"].count(True) == 1
        for record in reading.records
    )


def _published(record):
    *history, question, answer = (message.content for message in record.messages)
    pairs = [list(pair) for pair in zip(history[::2], history[1::2], strict=True)]
    return {"instruction": question, "input": "", "output": answer, "history": pairs}


@pytest.mark.parametrize(
    ("file", "rows", "used"),
    [
        ("COVID-Dialogue-Dataset-Chinese.txt", 1393, 1275),
        ("COVID-Dialogue-Dataset-English.txt", 604, 604),
        ("COVID-Dialogue-Dataset-Chinese.json", 1088, 1068),
        ("train_data.json", 870, 856),
    ],
)
def test_clean_variant_of_the_real_files(shared, read_source, file, rows, used):
    reading = read_source(shared / "train" / "covid-dialogue" / file, kind="conversation")
    assert (reading.account.rows_in, reading.account.rows_used) == (rows, used)
    assert set(reading.reasons) <= {"no_answer"}
