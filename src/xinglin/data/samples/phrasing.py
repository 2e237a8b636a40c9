"""Which phrasings of a fact may be trained on, and which are held out.

A held-out item is a (fact, phrasing) pair: the fact is trained with other phrasings and the phrasing with
other facts, so only a model that learned both, and not the string, can answer it.
"""

from random import Random
from typing import Any

from xinglin.data.samples.facts import (
    Contraindication,
    Disease,
    Fact,
    diseases,
    minor_complaints,
    red_flags,
    wording,
)

HELD_OUT = ("exam", "test", "dev")


def phrasings(fact: Fact, *, part: str, seed: int) -> list[int]:
    """Phrasing ids of a fact in ``part``: one each for ``exam``, ``test`` and ``dev``, the others ``train``.

    The held-out id moves on by one from case to case, so each phrasing is held out for few of them.
    """
    order = list(all_phrasings(fact))
    Random(f"{seed}/phrasings/{fact.lang}/{fact.attribute}").shuffle(order)
    keys = [case.key for case in (*diseases(), *red_flags(), *minor_complaints())]
    start = keys.index(fact.case.key) % len(order)
    order = order[start:] + order[:start]
    if part == "train":
        return sorted(order[len(HELD_OUT) :])
    return [order[HELD_OUT.index(part)]]


def all_phrasings(fact: Fact) -> range:
    """Every phrasing id of a fact; only for attributes that no held-out set asks for."""
    return range(len(wording(fact.lang)["questions"][fact.attribute]))


def question(fact: Fact, phrasing: int) -> str:
    return wording(fact.lang)["questions"][fact.attribute][phrasing].format(name=fact.subject)


def patient(random: Random, fact: Fact) -> str:
    """A clause about who asks, which does not matter for the answer; it fits the sex of the disease."""
    words = wording(fact.lang)
    sex = fact.case.patient if isinstance(fact.case, Disease) else None
    sexes = [sex] if sex else ["man", "woman"]
    choices = words["patients"]["any"] + [clause for key in sexes for clause in words["patients"][key]]
    return random.choice(choices).format(age=random.randrange(20, 80), job=random.choice(words["jobs"]))


def pregnant(random: Random, rule: Contraindication, lang: str) -> str:
    """A clause that says the patient is pregnant, in the stage in which the drug is avoided."""
    clauses = wording(lang)["pregnant"]
    stages = list(clauses) if rule.stage == "any" else [rule.stage]
    return random.choice([clause for key in stages for clause in clauses[key]])


def describe(fact: Fact, phrasing: int, *tags: str) -> dict[str, Any]:
    """The ``meta`` of a row about one fact asked in one phrasing."""
    return {
        "lang": fact.lang,
        "case": fact.case.key,
        "department": fact.case.department,
        "attribute": fact.attribute,
        "phrasing": f"{fact.lang}/{fact.attribute}/{phrasing}",
        "tags": list(tags),
    }
