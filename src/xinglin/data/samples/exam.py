"""Multiple-choice questions about held-out (fact, phrasing) pairs."""

from collections.abc import Iterator
from random import Random
from typing import Any

from xinglin.data.samples.facts import LANGUAGES, Disease, diseases, option
from xinglin.data.samples.phrasing import describe, phrasings, question

_ATTRIBUTES = ("drug", "examination", "department", "symptoms")
_LETTERS = "ABCD"


def exam(*, seed: int) -> Iterator[dict[str, Any]]:
    """One ``{"question", "options", "answer"}`` row per disease, language and attribute; letters in balance."""
    facts = [
        (disease, attribute, lang)
        for lang in LANGUAGES
        for disease in diseases()
        for attribute in _ATTRIBUTES
    ]
    random = Random(f"{seed}/exam")
    random.shuffle(facts)
    for number, (disease, attribute, lang) in enumerate(facts):
        letter = _LETTERS[number % len(_LETTERS)]
        wrong = random.sample(_distractors(disease, attribute, lang), len(_LETTERS) - 1)
        options = dict(zip(_LETTERS.replace(letter, ""), wrong, strict=True))
        options[letter] = option(disease, attribute, lang)
        (phrasing,) = phrasings(disease.key, attribute, lang, part="exam", seed=seed)
        yield {
            "question": question(disease.text[lang]["name"], attribute, lang, phrasing),
            "options": dict(sorted(options.items())),
            "answer": letter,
            "meta": describe(disease, attribute, lang, phrasing),
        }


def _distractors(disease: Disease, attribute: str, lang: str) -> list[str]:
    """Values of other diseases that no physician would defend: another department, another drug class."""
    others = (
        other
        for other in diseases()
        if not disease.defensible & other.defensible
        and (disease.drug_class is None or disease.drug_class != other.drug_class)
    )
    return sorted({option(other, attribute, lang) for other in others})
