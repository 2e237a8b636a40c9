"""Multiple-choice questions about held-out (fact, phrasing) pairs."""

from collections.abc import Iterator
from random import Random
from typing import Any

from xinglin.data.samples.facts import LANGUAGES, Disease, Fact, diseases
from xinglin.data.samples.phrasing import describe, phrasings, question

_ATTRIBUTES = ("drug", "examination", "department", "symptoms")
_LETTERS = "ABCD"


def exam(*, seed: int) -> Iterator[dict[str, Any]]:
    """One ``{"question", "options", "answer"}`` row per disease, language and attribute; letters in balance."""
    facts = [
        (disease, Fact(disease, attribute, lang))
        for lang in LANGUAGES
        for disease in diseases()
        for attribute in _ATTRIBUTES
    ]
    random = Random(f"{seed}/exam")
    random.shuffle(facts)
    for number, (disease, fact) in enumerate(facts):
        letter = _LETTERS[number % len(_LETTERS)]
        wrong = random.sample(_distractors(disease, fact), len(_LETTERS) - 1)
        options = {**dict(zip(_LETTERS.replace(letter, ""), wrong, strict=True)), letter: fact.option}
        (phrasing,) = phrasings(fact, part="exam", seed=seed)
        yield {
            "question": question(fact, phrasing),
            "options": dict(sorted(options.items())),
            "answer": letter,
            "meta": describe(fact, phrasing),
        }


def _distractors(disease: Disease, fact: Fact) -> list[str]:
    """Values of other diseases that no physician would defend: another department, another drug class."""
    others = (
        other
        for other in diseases()
        if not disease.defensible & other.defensible
        and (disease.drug_class is None or disease.drug_class != other.drug_class)
    )
    return sorted({fact._replace(case=other).option for other in others})
