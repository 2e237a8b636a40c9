"""Which phrasings of a fact may be trained on, and which are held out.

A held-out item is a (fact, phrasing) pair: the fact is trained with other phrasings and the phrasing with
other facts, so only a model that learned both, and not the string, can answer it.
"""

from random import Random
from typing import Any

from xinglin.data.samples.facts import Complaint, Disease, diseases, minor_complaints, red_flags, wording

HELD_OUT = ("exam", "test", "dev")


def phrasings(key: str, attribute: str, lang: str, *, part: str, seed: int) -> list[int]:
    """Phrasing ids of a fact in ``part``: one each for ``exam``, ``test`` and ``dev``, the others ``train``.

    The held-out id moves on by one from fact to fact, so each phrasing is held out for few facts.
    """
    order = list(range(len(wording(lang)["questions"][attribute])))
    Random(f"{seed}/phrasings/{lang}/{attribute}").shuffle(order)
    start = _position(key) % len(order)
    order = order[start:] + order[:start]
    if part == "train":
        return sorted(order[len(HELD_OUT) :])
    return [order[HELD_OUT.index(part)]]


def question(name: str, attribute: str, lang: str, phrasing: int) -> str:
    return wording(lang)["questions"][attribute][phrasing].format(name=name)


def patient(random: Random, lang: str, sex: str | None = None) -> str:
    """A who-is-asking clause that does not matter for the answer; ``sex`` limits it to man or woman."""
    words = wording(lang)
    sexes = [sex] if sex else ["man", "woman"]
    choices = words["patients"]["any"] + [clause for key in sexes for clause in words["patients"][key]]
    return random.choice(choices).format(age=random.randrange(20, 80), job=random.choice(words["jobs"]))


def pregnant(random: Random, lang: str, stage: str) -> str:
    """A clause that says the patient is pregnant, in the stage in which the drug is avoided."""
    clauses = wording(lang)["pregnant"]
    stages = list(clauses) if stage == "any" else [stage]
    return random.choice([clause for key in stages for clause in clauses[key]])


def describe(
    case: Disease | Complaint, attribute: str, lang: str, phrasing: int, *tags: str
) -> dict[str, Any]:
    """The ``meta`` of a row about one fact asked in one phrasing."""
    return {
        "lang": lang,
        "case": case.key,
        "department": case.department,
        "attribute": attribute,
        "phrasing": f"{lang}/{attribute}/{phrasing}",
        "tags": list(tags),
    }


def _position(key: str) -> int:
    keys = [case.key for case in (*diseases(), *red_flags(), *minor_complaints())]
    return keys.index(key)
