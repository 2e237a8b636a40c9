"""Encyclopaedia paragraphs for continued pretraining: every fact, contraindications and red flags included."""

from collections.abc import Iterator
from random import Random
from typing import Any

from xinglin.data.samples.facts import (
    CAUTION,
    LANGUAGES,
    Complaint,
    Disease,
    Fact,
    diseases,
    minor_complaints,
    red_flags,
    sentence_start,
    wording,
)


def documents(*, seed: int) -> Iterator[dict[str, Any]]:
    """``{"text"}`` rows, shuffled; several writings of each disease and complaint in each language."""
    rows = [row for lang in LANGUAGES for disease in diseases() for row in _about_disease(disease, lang)]
    complaints = (*red_flags(), *minor_complaints())
    rows += [
        row for lang in LANGUAGES for complaint in complaints for row in _about_complaint(complaint, lang)
    ]
    Random(f"{seed}/documents").shuffle(rows)
    yield from rows


def _about_disease(disease: Disease, lang: str) -> Iterator[dict[str, Any]]:
    text = disease.text[lang]
    starts = {key.capitalize(): sentence_start(text[key]) for key in ("name", "drug")}
    for writing in wording(lang)["documents"]:
        paragraph = writing.format(**text, **starts)
        if disease.contraindication:
            paragraph += {"zh": "", "en": " "}[lang] + Fact(disease, CAUTION, lang).answer
        yield {"text": paragraph, "meta": _meta(disease, lang, disease.contraindication is not None)}


def _about_complaint(complaint: Complaint, lang: str) -> Iterator[dict[str, Any]]:
    symptom = complaint.text[lang]
    for writing in wording(lang)["complaint_documents"]:
        text = writing.format(symptom=symptom, Symptom=sentence_start(symptom), answer=complaint.answer[lang])
        yield {"text": text, "meta": _meta(complaint, lang, complaint.department is not None)}


def _meta(case: Disease | Complaint, lang: str, safety: bool) -> dict[str, Any]:
    return {
        "lang": lang,
        "case": case.key,
        "department": case.department,
        "tags": ["safety"] if safety else [],
    }
