"""The demo world: complete facts, the same bytes everywhere, and nothing held out that was trained on."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from xinglin.data import samples
from xinglin.data.records import Origin, from_json, kind_of
from xinglin.data.samples import facts
from xinglin.data.samples.facts import CAUTION, Fact
from xinglin.errors import DataError

TRAINING = ("dialogues", "preferences")
HELD_OUT = ("dialogues_dev", "dialogues_test", "exam", "preferences_dev", "safety")
KINDS = {
    "documents": "document",
    "dialogues": "conversation",
    "dialogues_dev": "conversation",
    "dialogues_test": "conversation",
    "exam": "question",
    "preferences": "preference",
    "preferences_dev": "preference",
    "safety": "conversation",
}
HASH = (
    "import hashlib, json; from xinglin.data import samples; "
    "print(hashlib.sha256(''.join(json.dumps(row, ensure_ascii=False) for name in samples.names() "
    "for row in samples.rows(name)).encode()).hexdigest())"
)


@pytest.fixture(scope="module")
def world() -> dict[str, list[dict[str, Any]]]:
    return {name: list(samples.rows(name)) for name in samples.names()}


def asked(row: dict[str, Any]) -> str:
    """The first thing the user says."""
    if "question" in row:
        return row["question"]
    messages = row.get("messages") or row["prompt"]
    return next(message["content"] for message in messages if message["role"] == "user")


def combination(row: dict[str, Any]) -> tuple[str, str]:
    return row["meta"]["case"], row["meta"]["phrasing"]


def test_every_row_is_a_record(world: dict[str, list[dict[str, Any]]]) -> None:
    assert set(world) == set(KINDS)
    for name, rows in world.items():
        for number, row in enumerate(rows, start=1):
            assert "origin" not in row
            record = from_json(row, Origin(name, number))
            assert kind_of(record) == KINDS[name]
            assert record.to_json() == {**row, "origin": {"file": name, "row": number}}


def test_sizes(world: dict[str, list[dict[str, Any]]]) -> None:
    sizes = {name: len(rows) for name, rows in world.items()}
    assert sizes["dialogues"] == pytest.approx(8500, abs=1000)
    assert sizes["exam"] >= 240
    assert sizes["dialogues_test"] >= 200
    assert sizes["safety"] >= 100
    assert 60_000 < sum(len(row["text"]) for row in world["documents"]) < 90_000
    for rows in world.values():
        languages = Counter(row["meta"]["lang"] for row in rows)
        assert languages["zh"] == languages["en"]


def test_same_bytes_in_every_process() -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", HASH],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_seed_changes_what_is_held_out() -> None:
    first, second = (
        hashlib.sha256(json.dumps(list(samples.rows("exam", seed=seed))).encode()).digest() for seed in (1, 2)
    )
    assert first != second


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'dialogues'"):
        samples.rows("dialogue")


@pytest.mark.parametrize("lang", facts.LANGUAGES)
def test_facts_are_complete(lang: str) -> None:
    diseases = facts.diseases()
    assert 48 <= len(diseases) <= 60
    assert len({disease.department for disease in diseases}) >= 12
    for disease in diseases:
        assert set(disease.text[lang]) == {"name", *facts.ATTRIBUTES}
        assert all(disease.text[lang].values())
        assert len(disease.text[lang]["symptoms"].split("、" if lang == "zh" else ", ")) == 3
    for unique in ("name", "drug", "examination", "symptoms", "advice"):
        assert len({disease.text[lang][unique] for disease in diseases}) == len(diseases)
    keys = [case.key for case in (*diseases, *facts.red_flags(), *facts.minor_complaints())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("lang", facts.LANGUAGES)
def test_safety_facts(lang: str) -> None:
    assert len(facts.restricted()) >= 24
    for disease, rule in facts.restricted():
        assert rule.text[lang]["instead"] not in Fact(disease, "drug", lang).answer
        assert rule.text[lang]["instead"] in Fact(disease, CAUTION, lang).answer
        assert disease.patient != "man"
    assert len(facts.red_flags()) >= 20
    for flag in facts.red_flags():
        assert any(word in flag.answer[lang] for word in facts.wording(lang)["safety"]["emergency"])
    assert len({flag.text[lang] for flag in (*facts.red_flags(), *facts.minor_complaints())}) == len(
        facts.red_flags()
    ) + len(facts.minor_complaints())


def test_documents_state_every_fact(world: dict[str, list[dict[str, Any]]]) -> None:
    for lang in facts.LANGUAGES:
        for disease in facts.diseases():
            written = [
                row["text"]
                for row in world["documents"]
                if (row["meta"]["lang"], row["meta"]["case"]) == (lang, disease.key)
            ]
            assert len(set(written)) >= 3
            stated = [disease.text[lang][key] for key in ("name", *facts.ATTRIBUTES)]
            if disease.contraindication:
                stated.append(Fact(disease, CAUTION, lang).answer)
            for text in written:
                assert all(fact.lower() in text.lower() for fact in stated), (disease.key, text)


def test_held_out_combinations_are_never_trained(world: dict[str, list[dict[str, Any]]]) -> None:
    trained = {combination(row) for name in TRAINING for row in world[name] if "phrasing" in row["meta"]}
    texts = {asked(row) for name in TRAINING for row in world[name]}
    cases = {(case, phrasing.rsplit("/", 1)[0]) for case, phrasing in trained}
    phrasings = {phrasing for _, phrasing in trained}
    for name in HELD_OUT:
        for row in world[name]:
            case, phrasing = combination(row)
            assert (case, phrasing) not in trained, (name, row)
            assert asked(row) not in texts, (name, row)
            assert phrasing in phrasings
            assert (case, phrasing.rsplit("/", 1)[0]) in cases


def test_development_sets_share_nothing_with_test_sets(world: dict[str, list[dict[str, Any]]]) -> None:
    development = {combination(row) for name in ("dialogues_dev", "preferences_dev") for row in world[name]}
    for name in ("dialogues_test", "exam", "safety"):
        assert not development & {combination(row) for row in world[name]}


def test_dialogues_alternate_and_never_meet_a_pregnant_patient(
    world: dict[str, list[dict[str, Any]]],
) -> None:
    red_flags = [flag.text[lang] for flag in facts.red_flags() for lang in facts.LANGUAGES]
    turns: Counter[int] = Counter()
    for name in ("dialogues", "dialogues_dev", "dialogues_test"):
        for row in world[name]:
            messages = [message for message in row["messages"] if message["role"] != "system"]
            assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
            questions = " ".join(message["content"] for message in messages if message["role"] == "user")
            assert not any(
                word in questions for word in ("孕", "快生了", "pregnant", "expecting", "due soon")
            )
            assert not any(symptom in questions for symptom in red_flags)
            turns[len(messages) // 2] += 1
    assert turns[2] and turns[3] and turns[1] > turns[2] + turns[3]


def test_exam_answers_are_right_and_balanced(world: dict[str, list[dict[str, Any]]]) -> None:
    diseases = {disease.key: disease for disease in facts.diseases()}
    letters = Counter(row["answer"] for row in world["exam"])
    assert set(letters) == set("ABCD")
    assert max(letters.values()) - min(letters.values()) <= 1
    for row in world["exam"]:
        meta, options = row["meta"], row["options"]
        disease = diseases[meta["case"]]
        assert list(options) == list("ABCD")
        assert len(set(options.values())) == 4
        fact = Fact(disease, meta["attribute"], meta["lang"])
        assert options[row["answer"]] == fact.option
        assert fact.subject in row["question"]
        assert fact.answer.startswith(fact.option)


def test_exam_distractors_are_indefensible(world: dict[str, list[dict[str, Any]]]) -> None:
    diseases = {disease.key: disease for disease in facts.diseases()}
    for row in world["exam"]:
        disease, meta = diseases[row["meta"]["case"]], row["meta"]
        owners = [
            other
            for other in diseases.values()
            if other is not disease
            and Fact(other, meta["attribute"], meta["lang"]).option in row["options"].values()
        ]
        if meta["attribute"] == "department":
            defensible = {
                other.text[meta["lang"]]["department"].lower()
                for other in diseases.values()
                if other.department in disease.defensible
            }
            wrong = {text.lower() for letter, text in row["options"].items() if letter != row["answer"]}
            assert not defensible & wrong
        else:
            assert not any(other.department in disease.defensible for other in owners)
            assert not any(other.drug_class and other.drug_class == disease.drug_class for other in owners)


def test_preferences_differ_and_hold_controls(world: dict[str, list[dict[str, Any]]]) -> None:
    for name in ("preferences", "preferences_dev"):
        for row in world[name]:
            assert row["chosen"][0]["content"] != row["rejected"][0]["content"]
            assert row["prompt"][-1]["role"] == "user"
    tags = Counter(tag for row in world["preferences"] for tag in row["meta"]["tags"])
    assert 0.2 <= tags["control"] / len(world["preferences"]) <= 0.25
    assert tags["contraindication"] and tags["red_flag"]


def test_safety_rules_accept_the_reference_and_refuse_the_habit(
    world: dict[str, list[dict[str, Any]]],
) -> None:
    def proper(answer: str, rule: dict[str, list[str]]) -> bool:
        def has(key: str) -> bool:
            return any(phrase.lower() in answer.lower() for phrase in rule[key])

        return has("must_include_any") and not has("must_not_include")

    habits = {
        (row["meta"]["case"], row["meta"]["lang"], "control" in row["meta"]["tags"]): row["rejected"][0][
            "content"
        ]
        for row in world["preferences"]
    }
    controls = 0
    for row in world["safety"]:
        meta = row["meta"]
        control = "control" in meta["tags"]
        controls += control
        assert proper(row["messages"][-1]["content"], meta["safety"]), row
        assert not proper(habits[meta["case"], meta["lang"], control], meta["safety"]), row
    assert len(world["safety"]) - controls >= 100
    assert controls >= 30
