"""The demo world's facts and wording, read from the YAML tables beside this file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ruamel.yaml import YAML

LANGUAGES = ("zh", "en")
ATTRIBUTES = ("drug", "examination", "department", "symptoms", "advice")
COMPLAINT, CAUTION, EMERGENCY = "complaint", "caution", "emergency"


@dataclass(frozen=True, slots=True)
class Contraindication:
    """Why the first-line drug is avoided in pregnancy, and what is taken instead; texts are per language."""

    stage: str
    """``any``, ``early`` (first trimester) or ``late`` (third trimester)."""
    text: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Disease:
    key: str
    department: str
    defensible: frozenset[str]
    """Departments that a physician would accept, the right one included."""
    drug_class: str | None
    patient: str | None
    """``man`` or ``woman`` when the disease has a sex."""
    text: Mapping[str, Mapping[str, str]]
    """Per language: name, and a value for each of ``ATTRIBUTES``."""
    contraindication: Contraindication | None


@dataclass(frozen=True, slots=True)
class Emergency:
    """What a red flag may be; ``answer`` is what to do when it is called by its name."""

    name: Mapping[str, str]
    answer: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A symptom told casually: a red flag that must not wait, or a minor one that may."""

    key: str
    text: Mapping[str, str]
    answer: Mapping[str, str]
    department: str | None = None
    """Who treats the emergency; None for a minor complaint."""
    emergency: Emergency | None = None


class Fact(NamedTuple):
    """One thing a user can ask: an attribute of a disease or of a complaint, in one language.

    Attributes are ``ATTRIBUTES``; ``CAUTION``, the contraindication of the disease's drug; ``COMPLAINT``, what
    to do about a symptom told casually; and ``EMERGENCY``, what to do about a red flag called by its name.
    """

    case: Disease | Complaint
    attribute: str
    lang: str

    @property
    def subject(self) -> str:
        """What the question is about: a disease, a symptom or an emergency."""
        if isinstance(self.case, Disease):
            return self.case.text[self.lang]["name"]
        if self.attribute == EMERGENCY and self.case.emergency:
            return self.case.emergency.name[self.lang]
        return self.case.text[self.lang]

    @property
    def answer(self) -> str:
        """The right answer. For ``ATTRIBUTES`` it starts with the value, as an exam option is written."""
        if isinstance(self.case, Disease):
            if self.attribute == CAUTION:
                return self._warning(self.case)
            template = wording(self.lang)["answers"][self.attribute]
            return template.format(value=self.option, name=self.subject)
        if self.attribute == EMERGENCY and self.case.emergency:
            return self.case.emergency.answer[self.lang]
        return self.case.answer[self.lang]

    @property
    def value(self) -> str:
        """The bare value of a disease's attribute."""
        if not isinstance(self.case, Disease):
            raise TypeError(f"{self.case.key} is no disease")
        return self.case.text[self.lang][self.attribute]

    @property
    def option(self) -> str:
        """The value as an exam option: the start of a sentence, with no stop."""
        return sentence_start(self.value)

    def _warning(self, disease: Disease) -> str:
        rule = disease.contraindication
        if rule is None:
            raise ValueError(f"{disease.key} has no contraindication")
        words = wording(self.lang)
        return words["contraindication"].format(
            stage=words["stages"][rule.stage], drug=disease.text[self.lang]["drug"], **rule.text[self.lang]
        )


@cache
def diseases() -> tuple[Disease, ...]:
    """All diseases, in the order of ``facts.yaml``."""
    table, contraindications = _table("facts"), _table("safety")["contraindications"]
    unknown = set(contraindications) - set(table["diseases"])
    if unknown:
        raise KeyError(f"safety.yaml: contraindications of diseases that facts.yaml lacks: {sorted(unknown)}")
    return tuple(
        _disease(key, row, table["departments"], contraindications.get(key))
        for key, row in table["diseases"].items()
    )


def restricted() -> list[tuple[Disease, Contraindication]]:
    """The diseases whose first-line drug is avoided in pregnancy."""
    return [
        (disease, disease.contraindication) for disease in diseases() if disease.contraindication is not None
    ]


@cache
def red_flags() -> tuple[Complaint, ...]:
    """Symptoms that need an emergency answer."""
    table = _table("safety")
    departments = _table("facts")["departments"] | table["departments"]
    return tuple(_red_flag(key, row, departments) for key, row in table["red_flags"].items())


@cache
def minor_complaints() -> tuple[Complaint, ...]:
    """Symptoms for which rest, fluids and waiting is right."""
    answer = {lang: wording(lang)["self_care"] for lang in LANGUAGES}
    return tuple(Complaint(key, row, answer) for key, row in _table("safety")["minor"].items())


def wording(lang: str) -> Mapping[str, Any]:
    """Question phrasings, answer sentences and patients of one language, as in ``wording.yaml``."""
    return _table("wording")[lang]


def sentence_start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _disease(key: str, row: Any, departments: Any, rule: Any) -> Disease:
    comma = {"zh": "、", "en": ", "}
    text = {
        lang: {
            **row[lang],
            "department": departments[row["department"]][lang],
            "symptoms": comma[lang].join(row[lang]["symptoms"]),
        }
        for lang in LANGUAGES
    }
    return Disease(
        key=key,
        department=row["department"],
        defensible=frozenset([row["department"], *row.get("also", ())]),
        drug_class=row.get("drug_class"),
        patient=row.get("patient"),
        text=text,
        contraindication=Contraindication(rule["stage"], {lang: rule[lang] for lang in LANGUAGES})
        if rule
        else None,
    )


def _red_flag(key: str, row: Any, departments: Any) -> Complaint:
    def told(sentence: str, lang: str) -> str:
        words = wording(lang)
        name = row[lang][1]
        return words[sentence].format(
            urgent=words["urgent"][row["call"]],
            emergency=name,
            Emergency=sentence_start(name),
            department=departments[row["department"]][lang],
        )

    return Complaint(
        key=key,
        text={lang: row[lang][0] for lang in LANGUAGES},
        answer={lang: told("suspected", lang) for lang in LANGUAGES},
        department=row["department"],
        emergency=Emergency(
            name={lang: row[lang][1] for lang in LANGUAGES},
            answer={lang: told("known", lang) for lang in LANGUAGES},
        ),
    )


@cache
def _table(name: str) -> Any:
    text = files("xinglin.data.samples").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)
