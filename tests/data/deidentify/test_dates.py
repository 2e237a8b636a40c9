"""Dates move by whole days, in the form that they were written in."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.deidentify import Deidentification, Deidentifier, scan
from xinglin.data.deidentify.detectors import date as dates
from xinglin.data.deidentify.dice import Dice
from xinglin.data.deidentify.scanning import narrowed
from xinglin.data.records import Document, Origin

FORMS = (
    "{y}年{m}月{d}日", "{y}-{m:02}-{d:02}", "{y}{m:02}{d:02}",
    "{name} {d}, {y}", "{d} {name} {y}", "{short}. {d}, {y}", "{m:02}/{d:02}/{y}",
)  # fmt: skip


def moved(text: str, days: int) -> str:
    return dates.surrogate(text, "date", Dice(b"key", "date", text, days=days))


def written(form: str, day: date) -> str:
    name = dates.MONTHS[day.month - 1]
    return form.format(y=day.year, m=day.month, d=day.day, name=name, short=name[:3])


@given(
    form=st.sampled_from(FORMS),
    day=st.dates(date(1990, 1, 1), date(2040, 1, 1)),
    days=st.integers(-365, 365),
)
def test_a_date_keeps_its_form(form: str, day: date, days: int) -> None:
    if form.startswith("{short}") and day.month == 5:
        return  # "May." ends a sentence
    text = written(form, day)
    around = f"于{text}，"
    assert [around[span.start : span.end] for span in scan(around) if span.type == "date"] == [text]
    assert moved(text, days) == written(form, day + timedelta(days=days))


@pytest.mark.parametrize(
    ("text", "days", "after"),
    [
        ("3月20日", 15, "4月4日"),
        ("2020/3/5", 1, "2020/3/6"),
        ("2020.3.5", 30, "2020.4.4"),
        ("2020年03月05号", 1, "2020年03月06号"),
        ("2月28号", 1, "2月29号"),
        ("3.20号", 12, "4.1号"),
        ("二〇二〇年三月五日", 30, "二〇二〇年四月四日"),
        ("十二月二十一日", 11, "一月一日"),
        ("2020年3月", -30, "2020年2月"),
        ("19年12月31日", 1, "20年1月1日"),
        ("March 5th", 17, "March 22nd"),
        ("5th of March", 27, "1st of April"),
        ("May 5, 2020", 30, "June 4, 2020"),
        ("25/12/2019", 7, "01/01/2020"),
        ("3/22/20", 10, "4/1/20"),
        ("Mar 2020", 30, "Apr 2020"),
    ],
)
def test_forms(text: str, days: int, after: str) -> None:
    assert moved(text, days) == after


@pytest.mark.parametrize("name", [month for month in dates.MONTHS if month != "May"])
def test_months_in_small_letters_are_found(name: str) -> None:
    assert [span.type for span in scan(f"fever on {name.lower()} 5. They did")] == ["date"]
    assert [span.type for span in scan(f"since 19 {name[:3].lower()} I woke up")] == ["date"]


@given(
    days=st.integers(-365, 365), first=st.dates(date(2000, 1, 1), date(2030, 1, 1)), gap=st.integers(0, 900)
)
def test_intervals_stay(days: int, first: date, gap: int) -> None:
    read = lambda text: date.fromisoformat(moved(text, days))
    assert read((first + timedelta(days=gap)).isoformat()) - read(first.isoformat()) == timedelta(days=gap)


@pytest.mark.parametrize(
    "text", ["2020年13月5日", "2月30日", "2020-02-30", "血压120/80/60", "1/2片", "比例3/4/5"]
)
def test_what_is_no_day_is_no_date(text: str) -> None:
    assert not [span for span in scan(text) if span.type == "date"]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("住院2020.3.5-2020.3.8，", "住院2020.3.25-2020.3.28，"),
        ("住院2020.3.5-3.28，", "住院2020.3.25-2020.4.17，"),
        ("2020/3/5-2020/3/8住院", "2020/3/25-2020/3/28住院"),
        ("2020-03-05至03-08发热", "2020-03-25至2020-03-28发热"),
        ("于2020年3月5日至18日住院", "于2020年3月25日至2020年4月7日住院"),
        ("3月5-8日发热", "3月25-3月28日发热"),
        ("seen 03/05/2020-03/08/2020.", "seen 03/25/2020-03/28/2020."),
        ("二Ｏ二Ｏ年三月五日", "二〇二〇年三月二十五日"),
    ],
)
def test_no_end_of_a_range_stays(text: str, after: str) -> None:
    pieces, at = [], 0
    for span in scan(text):
        value = narrowed(text[span.start : span.end])
        pieces += [text[at : span.start], moved(value, 20)]
        at = span.end
    assert "".join([*pieces, text[at:]]) == after


@pytest.mark.parametrize(
    "text", ["2020-03-05-0012-33", "3月5日-8天", "2020.3.5-3.8.1版", "2020-3-5 - 3.8 mg"]
)
def test_no_range_is_made_of_other_numbers(text: str) -> None:
    assert all(span.end <= len("2020-03-05") for span in scan(text) if span.type == "date")


def test_a_piece_of_a_date_beside_a_longer_finding_is_replaced_too() -> None:
    rules = Deidentification(mode="replace")
    for style in ("placeholder", "surrogate"):
        found = Deidentifier(rules.model_copy(update={"style": style}), key=b"key" * 11)
        record = found.apply(Document("住院号：1234567890-2020年3月5日入院", Origin("a", 1)))
        assert (
            isinstance(record, Document) and "年3月5日" not in record.text and "1234567890" not in record.text
        )


@pytest.mark.parametrize(
    "text", ["3.5号线缝合切口", "2.5号针头", "随访6/12/24个月", "followed for 6/12/24 months", "3/6/12周复查"]
)
def test_sutures_and_follow_ups_are_no_dates(text: str) -> None:
    assert not scan(text)
