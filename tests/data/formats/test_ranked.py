"""Answers in an order of quality become all pairs of a better and a worse one."""

import pytest

from xinglin.data.formats import Reject, preference
from xinglin.data.records import Origin

ORIGIN = Origin("file", 1)


def pairs(row):
    assert preference.matches(row)
    return [
        (record.chosen, record.rejected, record.meta.get("margin"))
        for record in preference.parse(row, preference.Options(), ORIGIN)
    ]


def test_plain_texts_stand_best_first():
    row = {"prompt": "咳嗽怎么办？", "answers": ["a", "b", "c"]}
    assert pairs(row) == [("a", "b", None), ("a", "c", None), ("b", "c", None)]


def test_scores_beside_give_margins_and_ties_give_no_pair():
    row = {"question": "咳嗽怎么办？", "responses": ["a", "b", "c"], "scores": [2, 5, 2.0]}
    assert pairs(row) == [("b", "a", 3.0), ("b", "c", 3.0)]


def test_ranks_and_scores_may_stand_within():
    ranked = [{"answer": "a", "rank": 3}, {"answer": "b", "rank": 1}, {"answer": "c", "rank": 2}]
    row = {"instruction": "咳嗽怎么办？", "completions": ranked, "source": "x"}
    assert pairs(row) == [("b", "a", None), ("c", "a", None), ("b", "c", None)]
    scored = [{"response": "a", "overall_score": 7.5}, {"response": "b", "overall_score": 8.5}]
    assert pairs({"prompt": "咳嗽怎么办？", "completions": scored}) == [("b", "a", 1.0)]


def test_a_prompt_may_be_messages_and_the_rest_is_kept():
    row = {
        "prompt": [{"role": "system", "content": "你是医生"}, {"role": "user", "content": "咳嗽怎么办？"}],
        "answers": ["好", "坏", "坏"],
        "ranks": [1, 2, 3],
        "department": "呼吸科",
    }
    records = list(preference.parse(row, preference.Options(), ORIGIN))
    assert [(r.chosen, r.rejected) for r in records] == [("好", "坏"), ("好", "坏")], (
        "equal texts are no pair"
    )
    assert {len(record.prompt) for record in records} == {2}
    assert all(record.meta == {"department": "呼吸科"} and record.origin == ORIGIN for record in records)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"answers": ["a", "a "]}, "no_better_answer"),
        ({"answers": ["a", "b"], "scores": [1, 1]}, "no_better_answer"),
        ({"answers": ["a", "b"], "scores": [1]}, "bad_order"),
        ({"answers": ["a", "b"], "scores": [1, "2"]}, "bad_order"),
        ({"answers": [{"text": "a", "rank": 1}, {"text": "b"}]}, "bad_order"),
        ({"answers": [{"text": "a"}, {"text": "b"}]}, "no_order"),
        ({"answers": ["a", " "]}, "no_answer"),
        ({"answers": ["a", {"score": 1}]}, "no_answer"),
    ],
)
def test_what_has_no_order_is_rejected(row, reason):
    with pytest.raises(Reject) as rejected:
        pairs({"prompt": "咳嗽怎么办？", **row})
    assert rejected.value.reason == reason


def test_two_answers_still_are_one_pair_and_exams_are_no_rankings():
    row = {"prompt": "问", "chosen": "好", "rejected": "坏", "answers": ["x", "y"]}
    assert pairs(row) == [("好", "坏", None)]
    assert not preference.matches({"question": "问", "options": {"A": "1"}, "answers": ["A", "B"]})
    assert not preference.matches({"question": "问", "answers": ["一"]})
