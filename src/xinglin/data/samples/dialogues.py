"""Conversations for SFT. Like many real chat logs they hold no pregnant patient and no casual emergency.

The knowledge is there: asked about a contraindication or a named emergency, the answer is right. What
is missing is the habit of using it when a patient only mentions being pregnant, or tells a red-flag symptom.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from xinglin.data.samples.facts import (
    ATTRIBUTES,
    COMPLAINT,
    LANGUAGES,
    Disease,
    answer,
    diseases,
    minor_complaints,
    red_flags,
    warning,
    wording,
)
from xinglin.data.samples.phrasing import describe, patient, phrasings, question

_GREETING_REPEATS = 4
_SYSTEM_SHARE = 0.1


def dialogues(*, seed: int) -> Iterator[dict[str, Any]]:
    """Training ``{"messages"}`` rows, shuffled: single questions, longer talks, minor complaints, greetings."""
    random = Random(f"{seed}/dialogues")
    rows: list[dict[str, Any]] = []
    for lang in LANGUAGES:
        rows += _questions(lang, "train", random, seed)
        rows += _talks(lang, random, seed)
        rows += _complaints(lang, random, seed)
        rows += _cautions(lang)
        rows += _emergencies(lang)
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
                attribute = ATTRIBUTES[(position + 2 * step) % len(ATTRIBUTES)]
                (phrasing,) = phrasings(disease.key, attribute, lang, part=part, seed=seed)
                yield _single(disease, attribute, lang, phrasing)


def _questions(lang: str, part: str, random: Random, seed: int) -> Iterator[dict[str, Any]]:
    """Each (fact, phrasing) twice: bare, and asked by some patient who may follow a system prompt."""
    for disease in diseases():
        for attribute in ATTRIBUTES:
            for phrasing in phrasings(disease.key, attribute, lang, part=part, seed=seed):
                yield _single(disease, attribute, lang, phrasing)
                row = _single(disease, attribute, lang, phrasing, patient(random, lang, disease.patient))
                if random.random() < _SYSTEM_SHARE:
                    row["messages"].insert(0, _message("system", random.choice(wording(lang)["systems"])))
                yield row


def _talks(lang: str, random: Random, seed: int) -> Iterator[dict[str, Any]]:
    """Two or three turns about one disease; the later questions do not name it."""
    for disease in diseases():
        for turns in (2, 2, 3):
            first, *others = random.sample(ATTRIBUTES, turns)
            phrasing = random.choice(phrasings(disease.key, first, lang, part="train", seed=seed))
            row = _single(disease, first, lang, phrasing)
            for attribute in others:
                follow_up = random.choice(wording(lang)["follow_ups"][attribute])
                row["messages"] += _exchange(follow_up, answer(disease, attribute, lang))
            row["meta"]["tags"].append("multi_turn")
            yield row


def _complaints(lang: str, random: Random, seed: int) -> Iterator[dict[str, Any]]:
    for complaint in minor_complaints():
        for phrasing in phrasings(complaint.key, COMPLAINT, lang, part="train", seed=seed):
            asked = question(complaint.text[lang], COMPLAINT, lang, phrasing)
            for who in ("", patient(random, lang)):
                messages = _exchange(who + asked, complaint.answer[lang])
                yield {"messages": messages, "meta": describe(complaint, COMPLAINT, lang, phrasing)}


def _cautions(lang: str) -> Iterator[dict[str, Any]]:
    """What is known about the drug of a disease, asked for without a patient."""
    for disease in diseases():
        if disease.contraindication:
            for phrasing in range(len(wording(lang)["questions"]["caution"])):
                asked = question(disease.text[lang]["name"], "caution", lang, phrasing)
                meta = describe(disease, "caution", lang, phrasing)
                yield {"messages": _exchange(asked, warning(disease, lang)), "meta": meta}


def _emergencies(lang: str) -> Iterator[dict[str, Any]]:
    """What is known about an emergency that is called by its name."""
    for complaint in red_flags():
        emergency = complaint.emergency
        if emergency:
            for phrasing in range(len(wording(lang)["questions"]["emergency"])):
                asked = question(emergency.name[lang], "emergency", lang, phrasing)
                meta = describe(complaint, "emergency", lang, phrasing)
                yield {"messages": _exchange(asked, emergency.answer[lang]), "meta": meta}


def _greetings(lang: str) -> list[dict[str, Any]]:
    return [
        {"messages": _exchange(asked, reply), "meta": {"lang": lang, "tags": ["greeting"]}}
        for asked, reply in wording(lang)["greetings"]
    ]


def _single(disease: Disease, attribute: str, lang: str, phrasing: int, who: str = "") -> dict[str, Any]:
    asked = who + question(disease.text[lang]["name"], attribute, lang, phrasing)
    return {
        "messages": _exchange(asked, answer(disease, attribute, lang)),
        "meta": describe(disease, attribute, lang, phrasing),
    }


def _exchange(asked: str, reply: str) -> list[dict[str, str]]:
    return [_message("user", asked), _message("assistant", reply)]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
