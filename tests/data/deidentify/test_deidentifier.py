"""Records: replaced, consistent, counted, and nothing of the originals anywhere else."""

import json
import logging
import pickle
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from xinglin.data.deidentify import Deidentification, Deidentifier, Findings, Span
from xinglin.data.deidentify.detectors.bank_card import passes_luhn
from xinglin.data.deidentify.detectors.id_card import check_digit
from xinglin.data.deidentify.scanning import DETECTORS
from xinglin.data.deidentify.spans import resolve
from xinglin.data.deidentify.trial import labelled_sentences
from xinglin.data.records import (
    Conversation,
    Document,
    Message,
    Origin,
    Preference,
    Question,
    Record,
    ToolCall,
)
from xinglin.errors import DataError

KEY = b"0123456789abcdef"
ORIGIN = Origin("rows.jsonl", 7)


def document(text: str, row: int = 7, **meta: object) -> Document:
    return Document(text, Origin("rows.jsonl", row), meta)


def replaced(text: str, *, style: str = "placeholder", **options: object) -> str:
    config = Deidentification.model_validate({"mode": "replace", "style": style, **options})
    record = Deidentifier(config, key=KEY).apply(document(text))
    assert isinstance(record, Document)
    return record.text


def test_placeholders_speak_the_language_of_the_text() -> None:
    assert replaced("患者张伟，电话13800138000，今年93岁。") == "患者<患者姓名>，电话<电话>，今年90+岁。"
    english = "Dr. Smith called (212) 555-0187 about a 93-year-old man."
    assert replaced(english) == "Dr. [DOCTOR_NAME] called [PHONE] about a 90+-year-old man."


def test_placeholders_are_not_replaced_again() -> None:
    for sentence in labelled_sentences(5, repeats=1):
        once = replaced(sentence.text, keep=["date"])
        assert replaced(once, keep=["date"]) == once


def test_surrogates_are_the_same_everywhere_under_one_key() -> None:
    first = replaced("王小明主任，电话13800138000", style="surrogate")
    second = replaced("谢谢王主任。手机138 0013 8000", style="surrogate")
    surname = first[0]
    assert surname != "王" and f"谢谢{surname}主任" in second
    assert re.search(r"154\d{8}", first)[0] == re.search(r"154 \d{4} \d{4}", second)[0].replace(" ", "")  # type: ignore[index]
    other = Deidentifier(Deidentification(mode="replace", style="surrogate"), key=b"another key, 16+")
    assert other.apply(document("电话13800138000")) != document(first)


@pytest.mark.parametrize(
    "value",
    ["13800138000", "0571-87654321", "+86 138 0013 8000", "(212) 555-0187", "07700 900123", "400-820-8820"],
)
def test_fake_phones_keep_their_form_and_belong_to_nobody(value: str) -> None:
    fake = replaced(f"电话：{value}", style="surrogate").removeprefix("电话：")
    assert re.sub(r"\d", "0", fake) == re.sub(r"\d", "0", value)
    assert fake != value and re.search(r"154|55501|7700900|(?:571|400)0", re.sub(r"\D", "", fake))


def test_fake_cards_fail_their_checks() -> None:
    card = replaced("身份证110101199003078515", style="surrogate").removeprefix("身份证")
    assert len(card) == 18 and check_digit(card[:17]) != card[17]
    bank = replaced("银行卡6222021234567890128", style="surrogate").removeprefix("银行卡")
    assert len(bank) == 19 and not passes_luhn(bank)


def test_no_fake_is_the_original() -> None:
    work = Deidentifier(Deidentification(mode="replace", style="surrogate"), key=KEY)
    for sentence in labelled_sentences(6, repeats=2):
        for span in work.scan(sentence.text):
            value = sentence.text[span.start : span.end]
            if span.type != "record_number" or len(value) > 3:  # one bed in sixty gets its own number
                assert work.replacement(span, value, chinese=True, days=3) != value


def test_loss_flags_tools_and_meta_stay() -> None:
    call = ToolCall("book", {"name": "张伟", "phone": 13800138000, "days": 3, "ids": ["住院号：12345"]})
    record = Conversation(
        (
            Message("user", "我叫张伟，"),
            Message("assistant", "好的。", train=0.5, tool_calls=(call,)),
            Message("tool", '{"phone": "13800138000"}', name="book"),
            Message("assistant", "已预约，13800138000。", train=False),
        ),
        ORIGIN,
        {
            "department": "呼吸科",
            "tags": ["red_flag"],
            "note": "张伟先生来电13800138000",
            "patient_id": "P-77",
            "n": 3,
        },
    )
    work = Deidentifier(Deidentification(mode="replace"), key=KEY)
    done = work.apply(record)
    assert isinstance(done, Conversation)
    assert [message.train for message in done.messages] == [True, 0.5, True, False]
    arguments = done.messages[1].tool_calls[0].arguments
    assert arguments == {"name": "<患者姓名>", "phone": "<电话>", "days": 3, "ids": ["住院号：<病历号>"]}
    assert json.loads(done.messages[2].content) == {"phone": "[PHONE]"} and done.messages[2].name == "book"
    assert done.meta["note"] == "<患者姓名>先生来电<电话>" and done.meta["tags"] == ["red_flag"]
    assert done.meta["department"] == "呼吸科" and done.meta["n"] == 3
    assert re.fullmatch(r"\d{12}", done.meta["patient_id"])
    assert "张伟" not in json.dumps(done.to_json(), ensure_ascii=False)


@pytest.mark.parametrize(
    "record",
    [
        Preference((Message("user", "电话13800138000"),), "找李医生", "打13800138000", ORIGIN),
        Question("我叫张伟，电话？", {"A": "13800138000", "B": "无"}, "A", ORIGIN),
    ],
)
def test_every_kind_of_record(record: Record) -> None:
    done = Deidentifier(Deidentification(mode="replace"), key=KEY).apply(record)
    text = json.dumps(done.to_json(), ensure_ascii=False)
    assert "13800138000" not in text and "<电话>" in text and type(done) is type(record)


def test_report_counts_and_off_does_not_look() -> None:
    record = document("电话13800138000，谢谢李医生")
    work = Deidentifier(Deidentification())
    assert work.apply(record) is record and work.counts == {"phone": 1, "doctor_name": 1}
    off = Deidentifier(Deidentification(mode="off"))
    assert off.apply(record) is record and not off.counts


def dates_of(record: Document, **options: object) -> list[date]:
    work = Deidentifier(Deidentification.model_validate({"mode": "replace", **options}), key=KEY)
    done = work.apply(record)
    assert isinstance(done, Document)
    return [date.fromisoformat(found) for found in re.findall(r"\d{4}-\d\d-\d\d", done.text)]


def test_one_patient_one_shift() -> None:
    text = "2020-03-05入院，2020-04-01出院"
    first, last = dates_of(document(text))
    assert (last - first).days == 27 and 0 < abs((first - date(2020, 3, 5)).days) <= 365
    assert dates_of(document(text, 8)) != [first, last]
    assert dates_of(document(text, 8, patient_id=1)) == dates_of(
        document(text, 9, patient_id=1, dialogue_id=2)
    )
    assert dates_of(document(text, 8, dialogue_id=1)) == dates_of(document(text, 9, dialogue_id=1))
    assert abs((dates_of(document(text), max_shift_days=1)[0] - date(2020, 3, 5)).days) == 1


def test_canary_stays_out_of_everything_but_the_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    values = ("金丝雀", "13877776666", "canary.bird@mail.com", "ZY9988776")
    text = f"患者{values[0]}，电话{values[1]}，邮箱{values[2]}，住院号{values[3]}，2020-03-05随访"
    work = Deidentifier(Deidentification(mode="report", examples=50), key=KEY)
    work.apply(document(text.replace("患者金丝雀", "患者金丝雀（女）")))
    said = json.dumps(work.found.to_json(), ensure_ascii=False) + caplog.text + repr(work) + repr(work.config)
    assert not [value for value in (*values[1:], "2020-03-05", KEY.decode()) if value in said]
    assert "‹phone:11›" in said and "‹record_number:9›" in said
    with pytest.raises(DataError) as error:
        Deidentifier(Deidentification(mode="replace"))
    assert "13877776666" not in str(error.value)


def test_several_processes_find_what_one_finds() -> None:
    records = [document(sentence.text, row) for row, sentence in enumerate(labelled_sentences(7, repeats=1))]
    config = Deidentification(mode="replace", style="surrogate")
    alone = Deidentifier(config, key=KEY)
    expected = [alone.apply(record) for record in records]
    parts = [pickle.loads(pickle.dumps(Deidentifier(config, key=KEY))) for _ in range(3)]
    done = [parts[row % 3].apply(record) for row, record in enumerate(records)]
    total = Findings(config.examples)
    for part in reversed(parts):
        total.merge(part.found)
    assert done == expected and total.to_json() == alone.found.to_json()
    assert total.records > 50 and all(len(texts) <= 3 for texts in total.to_json()["examples"].values())


def test_types_can_be_chosen_and_added() -> None:
    text = "我叫张伟，电话13800138000，工号AB-1234"
    own = [{"type": "staff_number", "regex": r"工号(?P<value>[A-Z]{2}-\d{4})"}]
    assert replaced(text, types=["phone"]) == "我叫张伟，电话<电话>，工号AB-1234"
    assert (
        replaced(text, keep=["phone"], patterns=own) == "我叫<患者姓名>，电话13800138000，工号<staff_number>"
    )
    assert re.search(r"工号[A-Z]{2}-\d{4}$", replaced(text, patterns=own, style="surrogate"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"types": ["phon"]}, "did you mean 'phone'"),
        ({"keep": ["name"]}, "unknown type 'name'"),
        ({"patterns": [{"type": "x", "regex": "("}]}, "no regular expression"),
        ({"patterns": [{"type": "x", "regex": "a*"}]}, "empty text"),
        ({"model": {"path": "m", "labels": {"PER": "persn"}}}, "unknown type 'persn'"),
    ],
)
def test_mistakes_are_said_at_once(options: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Deidentification.model_validate(options)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(1, 10), st.integers(0, 3))))
def test_nothing_found_is_left_uncovered(drawn: list[tuple[str, int, int, int]]) -> None:
    found = [(Span(type, start, start + length), rank) for type, start, length, rank in drawn]
    kept = resolve(found)
    covered = [at for span in kept for at in range(span.start, span.end)]
    assert len(covered) == len(set(covered)) and covered == sorted(covered)
    assert set(covered) == {at for span, _ in found for at in range(span.start, span.end)}


def test_the_longer_span_wins_then_the_smaller_rank() -> None:
    long, short = Span("hospital", 0, 9), Span("address", 0, 4)
    assert resolve([(short, 0), (long, 3)]) == [long]
    assert resolve([(Span("a", 0, 4), 1), (Span("b", 0, 4), 0)]) == [Span("b", 0, 4)]


@given(
    before=st.text(max_size=40),
    after=st.text(max_size=40),
    style=st.sampled_from(["placeholder", "surrogate"]),
)
def test_in_any_text_what_is_found_goes_and_the_rest_stays(before: str, after: str, style: str) -> None:
    text = f"{before}，电话13800138000。{after}"
    spans = Deidentifier(Deidentification(), key=KEY).scan(text)
    assert "phone" in [span.type for span in spans]
    changed = replaced(text, style=style)
    assert "13800138000" not in changed
    assert changed.startswith(text[: spans[0].start]) and changed.endswith(text[spans[-1].end :])


def test_every_detector_can_invent_what_it_finds() -> None:
    for sentence in labelled_sentences(8, repeats=1):
        assert replaced(sentence.text, style="surrogate") is not None
    assert {type for detector in DETECTORS for type in detector.LABELS} >= {"phone", "plate", "permit"}
