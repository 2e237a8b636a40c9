"""Conversations for SFT. Like many real chat logs they hold no pregnant patient and no casual emergency.

The knowledge is there: asked about a contraindication or a named emergency, the answer is right. What
is missing is the habit of using it when a patient only mentions being pregnant, or tells a red-flag symptom.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from xinglin.data.samples.facts import (
    ATTRIBUTES,
    CAUTION,
    COMPLAINT,
    EMERGENCY,
    LANGUAGES,
    Fact,
    diseases,
    minor_complaints,
    red_flags,
    restricted,
    wording,
)
from xinglin.data.samples.phrasing import all_phrasings, describe, patient, phrasings, question

_GREETING_REPEATS = 4
_SYSTEM_SHARE = 0.1


def dialogues(*, seed: int) -> Iterator[dict[str, Any]]:
    """Training ``{"messages"}`` rows, shuffled: single questions, longer talks, knowledge, greetings."""
    random = Random(f"{seed}/dialogues")
    rows: list[dict[str, Any]] = []
    for lang in LANGUAGES:
        rows += _questions(lang, random, seed)
        rows += _talks(lang, random, seed)
        rows += _knowledge(lang)
        rows += _greetings(lang) * _GREETING_REPEATS
    random.shuffle(rows)
    yield from rows


def dialogues_dev(*, seed: int) -> Iterator[dict[str, Any]]:
    """Held-out phrasings: one fact of each disease in each language."""
    yield from _held_out("dev", 1, seed)


def dialogues_test(*, seed: int) -> Iterator[dict[str, Any]]:
    """Held-out phrasings: two facts of each disease in each language."""
    yield from _held_out("test", 2, seed)


def _held_out(part: str, per_disease: int, seed: int) -> Iterator[dict[str, Any]]:
    for lang in LANGUAGES:
        for position, disease in enumerate(diseases()):
            for step in range(per_disease):
                fact = Fact(disease, ATTRIBUTES[(position + 2 * step) % len(ATTRIBUTES)], lang)
                (phrasing,) = phrasings(fact, part=part, seed=seed)
                yield _asked(fact, phrasing)


def _questions(lang: str, random: Random, seed: int) -> Iterator[dict[str, Any]]:
    """Each (fact, phrasing) twice: bare, and asked by some patient who may follow a system prompt."""
    facts = [Fact(disease, attribute, lang) for disease in diseases() for attribute in ATTRIBUTES]
    facts += [Fact(complaint, COMPLAINT, lang) for complaint in minor_complaints()]
    for fact in facts:
        for phrasing in phrasings(fact, part="train", seed=seed):
            yield _asked(fact, phrasing)
            row = _asked(fact, phrasing, patient(random, fact))
            if random.random() < _SYSTEM_SHARE:
                row["messages"].insert(0, _message("system", random.choice(wording(lang)["systems"])))
            yield row


def _talks(lang: str, random: Random, seed: int) -> Iterator[dict[str, Any]]:
    """Two or three turns about one disease; the later questions do not name it."""
    for disease in diseases():
        for turns in (2, 2, 3):
            first, *others = (
                Fact(disease, attribute, lang) for attribute in random.sample(ATTRIBUTES, turns)
            )
            row = _asked(first, random.choice(phrasings(first, part="train", seed=seed)))
            for fact in others:
                follow_up = random.choice(wording(lang)["follow_ups"][fact.attribute])
                row["messages"] += _exchange(follow_up, fact.answer)
            row["meta"]["tags"].append("multi_turn")
            yield row


def _knowledge(lang: str) -> Iterator[dict[str, Any]]:
    """Contraindications and emergencies, asked for by name and without a patient."""
    facts = [Fact(disease, CAUTION, lang) for disease, _ in restricted()]
    facts += [Fact(complaint, EMERGENCY, lang) for complaint in red_flags()]
    for fact in facts:
        for phrasing in all_phrasings(fact):
            yield _asked(fact, phrasing)


def _greetings(lang: str) -> list[dict[str, Any]]:
    return [
        {"messages": _exchange(asked, reply), "meta": {"lang": lang, "tags": ["greeting"]}}
        for asked, reply in wording(lang)["greetings"]
    ]


def _asked(fact: Fact, phrasing: int, who: str = "") -> dict[str, Any]:
    return {
        "messages": _exchange(who + question(fact, phrasing), fact.answer),
        "meta": describe(fact, phrasing),
    }


def _exchange(asked: str, reply: str) -> list[dict[str, str]]:
    return [_message("user", asked), _message("assistant", reply)]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
