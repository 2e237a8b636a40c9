"""Dates move by whole days, in the form that they were written in."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.deidentify import scan
from xinglin.data.deidentify.detectors import date as dates
from xinglin.data.deidentify.dice import Dice

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
