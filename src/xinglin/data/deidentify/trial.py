"""A labelled test set, made of templates, and how well the rules do on it.

Sentences are templates of ``trial/`` filled with numbers that are drawn here and with names, hospitals and places of
``trial/values.txt``, which are not those of the detectors' lists: common surnames are common in both, a few of the test
are in no list. A third of the sentences hold nothing personal, only what looks like it.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from typing import NamedTuple

from xinglin.data.deidentify.detectors.bank_card import passes_luhn
from xinglin.data.deidentify.detectors.date import MONTHS
from xinglin.data.deidentify.detectors.id_card import check_digit
from xinglin.data.deidentify.scanning import TYPES, scan
from xinglin.data.deidentify.spans import Span

Slots = dict[str, tuple[str | None, Callable[[], str]]]
"""Slot of a template -> the type that its text is of, or None, and what makes the text."""
POSITIVE, NEGATIVE = ("zh", "en"), ("zh_negative", "en_negative")


class Labelled(NamedTuple):
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Score:
    """How often the rules were right about one type; a span counts only with its exact type, start and end."""

    labelled: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else 1.0


def evaluate_detectors(seed: int = 0, *, repeats: int = 18) -> dict[str, Score]:
    """Precision and recall of ``scan`` per type, on the sentences of ``labelled_sentences``."""
    labelled, found, right = Counter[str](), Counter[str](), Counter[str]()
    for sentence in labelled_sentences(seed, repeats=repeats):
        spans = set(scan(sentence.text))
        labelled.update(span.type for span in sentence.spans)
        found.update(span.type for span in spans)
        right.update(span.type for span in spans.intersection(sentence.spans))
    return {type: Score(labelled[type], found[type], right[type]) for type in sorted(TYPES)}


def as_table(scores: dict[str, Score]) -> str:
    """The scores as a table in Markdown."""
    lines = ["| type | labelled | precision | recall |", "|---|---|---|---|"]
    for type, score in scores.items():
        lines.append(f"| {type} | {score.labelled} | {score.precision:.3f} | {score.recall:.3f} |")
    return "\n".join(lines)


def labelled_sentences(seed: int = 0, *, repeats: int = 18) -> list[Labelled]:
    """Every template ``repeats`` times, each time with other values; the same for the same seed."""
    values = _Values(random.Random(seed))
    return [
        _filled(template, values)
        for _ in range(repeats)
        for part in (*POSITIVE, *NEGATIVE)
        for template in _lines(part)
    ]


def _lines(name: str) -> list[str]:
    text = (files("xinglin.data.deidentify") / "trial" / f"{name}.txt").read_text(encoding="utf-8")
    return text.splitlines()


def _filled(template: str, values: "_Values") -> Labelled:
    text, spans = "", []
    for index, piece in enumerate(template.replace("}", "{").split("{")):
        if index % 2 == 0:
            text += piece
            continue
        type, make = values.slots[piece]
        value = make()
        if type:
            spans.append(Span(type, len(text), len(text) + len(value)))
        text += value
    return Labelled(text, tuple(spans))


class _Values:
    """What the slots of templates are filled with."""

    def __init__(self, dice: random.Random):
        self.dice = dice
        self._lists = {}
        for line in _lines("values"):
            name, _, words = line.partition("=")
            self._lists[name] = words.split("|") if "|" in words else words.split()
        self.slots: Slots = {
            **self._names(),
            **self._places(),
            **self._documents(),
            **self._contacts(),
            **self._dates(),
            "n": (None, lambda: str(dice.randint(2, 80))),
            "age_ok": (None, lambda: str(dice.randint(40, 89))),
            "sex": (None, lambda: dice.choice("男女")),
            "temp": (None, lambda: f"{dice.randint(36, 40)}.{dice.randint(0, 9)}"),
        }

    def pick(self, name: str) -> str:
        return self.dice.choice(self._lists[name])

    def digits(self, count: int) -> str:
        return "".join(self.dice.choice("0123456789") for _ in range(count))

    def _names(self) -> Slots:
        middle = lambda: self.dice.choice((" ", " ", f" {self.dice.choice('ABJM')}. "))
        chinese = lambda: self.pick("surnames") + self.pick("givens")
        english = lambda: self.pick("first") + middle() + self.pick("last")
        return {
            "patient_zh": ("patient_name", chinese),
            "doctor_zh": ("doctor_name", chinese),
            "surname_patient": ("patient_name", lambda: self.pick("surnames")),
            "surname_doctor": ("doctor_name", lambda: self.pick("surnames")),
            "patient_en": ("patient_name", english),
            "doctor_en": ("doctor_name", english),
            "surname_patient_en": ("patient_name", lambda: self.pick("last")),
            "surname_doctor_en": ("doctor_name", lambda: self.pick("last")),
        }

    def _places(self) -> Slots:
        return {
            "hospital_zh": ("hospital", self._hospital),
            "address_zh": ("address", self._address),
            "hospital_en": ("hospital", self._hospital_en),
            "address_en": ("address", self._address_en),
        }

    def _hospital(self) -> str:
        county, private = self.pick("counties"), self.pick("private")
        public = county + self.pick("kinds")
        return self.dice.choice(
            (public, self.pick("full_hospitals"), f"{private}医院", f"{county}{private}医院")
        )

    def _address(self) -> str:
        dice, city, district = self.dice, self.pick("cities"), self.pick("districts")
        street = f"{self.pick('roads')}{dice.choice(('路', '街', '大道', '北路'))}{dice.randint(1, 999)}号"
        door = f"{dice.randint(1, 30)}栋{dice.randint(1, 4)}单元{dice.randint(101, 2602)}室"
        home = self.pick("estates") + door
        forms = (
            city + district + street,
            city + district + street + home,
            district + street,
            city + district + home,
        )
        return dice.choice(forms)

    def _hospital_en(self) -> str:
        place, saint = self.pick("en_places"), self.pick("en_saints")
        kinds = ("General Hospital", "Medical Center", "Health Center", "Family Clinic")
        return self.dice.choice(
            (f"{saint} Hospital", self.pick("en_hospitals"), *(f"{place} {kind}" for kind in kinds))
        )

    def _address_en(self) -> str:
        dice, place = self.dice, self.pick("en_places")
        city = f", {place}, {self.pick('en_states')} {self.digits(5)}"
        rest = dice.choice(("", city, f", Apt {dice.randint(1, 40)}"))
        return f"{dice.randint(1, 9999)} {self.pick('en_streets')}{rest}"

    def _documents(self) -> Slots:
        dice, digits = self.dice, self.digits
        regions = ("1101", "3205", "4201", "4403", "5101", "6101")
        region = lambda: dice.choice(regions) + f"{dice.randint(1, 30):02}"
        born = lambda: (date(1930, 1, 1) + timedelta(days=dice.randint(0, 33000))).strftime("%Y%m%d")
        hong_kong = ("A123456(3)", "K123456(0)", "C668668(9)")
        plate = lambda: (
            dice.choice("京沪苏粤鄂川豫") + dice.choice(("A", "B·", "C", "E·")) + dice.choice("DFJK")
        )
        ssn = lambda: f"{dice.randint(101, 599)}-{dice.randint(10, 99)}-{dice.randint(1000, 9999)}"
        return {
            "id18": ("id_card", lambda: _checked(region() + born() + digits(3))),
            "id15": ("id_card", lambda: region() + born()[2:] + digits(3)),
            "id_hk": ("id_card", lambda: dice.choice(hong_kong)),
            "permit": ("permit", lambda: digits(8)),
            "permit_hm": ("permit", lambda: dice.choice("HM") + digits(8)),
            "bank": (
                "bank_card",
                lambda: _luhn(dice.choice(("622202", "621700", "4539", "5187")) + digits(11)),
            ),
            "record": (
                "record_number",
                lambda: dice.choice(("", "ZY", "A", "M-")) + digits(dice.randint(5, 9)),
            ),
            "bed": ("record_number", lambda: str(dice.randint(1, 60))),
            "plate": ("plate", lambda: plate() + digits(4)),
            "passport": ("passport", lambda: dice.choice("EG") + digits(8)),
            "ssn": ("ssn", ssn),
            "age90": ("age", lambda: str(dice.randint(90, 108))),
        }

    def _contacts(self) -> Slots:
        dice, digits = self.dice, self.digits
        mobile = lambda: "1" + dice.choice("3456789") + digits(9)
        landline = lambda: f"0{dice.choice(('10', '21', '571', '755', '28'))}-{dice.randint(2, 8)}{digits(7)}"
        american = ("({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "{}.{}.{}")
        british = lambda: (f"07700 {digits(6)}", f"020 7{digits(3)} {digits(4)}", f"+44 7911 {digits(6)}")
        user = lambda: (
            dice.choice(("zhang", "li.na", "wang_wei", "j.smith", "dr-chen")) + digits(dice.randint(0, 4))
        )
        hosts = ("163.com", "qq.com", "gmail.com", "hospital.org.cn", "nhs.uk")
        return {
            "mobile": ("phone", lambda: dice.choice((_plain, _spaced, _dashed, _abroad))(mobile())),
            "landline": ("phone", landline),
            "hotline": ("phone", lambda: f"400-{digits(3)}-{digits(4)}"),
            "phone_us": (
                "phone",
                lambda: dice.choice(american).format(
                    dice.randint(212, 989), dice.randint(220, 989), digits(4)
                ),
            ),
            "phone_uk": ("phone", lambda: dice.choice(british())),
            "email": ("email", lambda: f"{user()}@{dice.choice(hosts)}"),
            "qq": ("account", lambda: str(dice.randint(1, 9)) + digits(dice.randint(7, 9))),
            "wechat": (
                "account",
                lambda: dice.choice(("wxid_", "abc", "sunny-")) + digits(dice.randint(3, 6)),
            ),
            "ip": ("ip", lambda: ".".join(str(dice.randint(100, 223)) for _ in range(4))),
            "url": ("url", lambda: f"https://www.haodoctor.example/user/{digits(6)}"),
        }

    def _dates(self) -> Slots:
        dice = self.dice
        day = lambda: date(2008, 1, 1) + timedelta(days=dice.randint(0, 6000))
        forms = {
            "date_zh": "{y}年{m}月{d}日",
            "date_md": "{m}月{d}号",
            "date_iso": "{y}-{m:02}-{d:02}",
            "date_us": "{m:02}/{d:02}/{y}",
            "date_en": "{name} {d}, {y}",
            "date_md_en": "{name} {d}",
        }
        numerals = ("二〇二〇年三月五日", "二〇一九年十二月二十一日")
        makers: Slots = {
            slot: ("date", lambda form=form: _dated(form, day())) for slot, form in forms.items()
        }
        return {**makers, "date_han": ("date", lambda: dice.choice(numerals))}


def _dated(form: str, day: date) -> str:
    return form.format(y=day.year, m=day.month, d=day.day, name=MONTHS[day.month - 1])


def _checked(first: str) -> str:
    return first + check_digit(first)


def _luhn(first: str) -> str:
    return next(first + last for last in "0123456789" if passes_luhn(first + last))


def _plain(number: str) -> str:
    return number


def _spaced(number: str) -> str:
    return f"{number[:3]} {number[3:7]} {number[7:]}"


def _dashed(number: str) -> str:
    return f"{number[:3]}-{number[3:7]}-{number[7:]}"


def _abroad(number: str) -> str:
    return f"+86 {number}"
