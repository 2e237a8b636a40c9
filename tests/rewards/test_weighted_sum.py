"""How several rewards make one number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_toys import config, context, sample

from xinglin import plugins
from xinglin.errors import DataError, RewardError
from xinglin.rewards import PACKAGE, RuleConfig, Scoring, combine

SCORES = st.floats(-1, 0)
WEIGHTS = st.floats(-5, 5)


@given(
    rows=st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=8),
    weights=st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),
    vetoes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    low=st.floats(-4, -1),
    high=st.floats(0, 4),
)
def test_totals_are_weighted_clipped_and_vetoed(rows, weights, vetoes, low, high) -> None:
    names = ("a", "b", "c")
    configs = [
        RuleConfig(name=name, weight=weight, veto=veto)
        for name, weight, veto in zip(names, weights, vetoes, strict=True)
    ]
    components = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    totals = combine(configs, components, low=low, high=high)
    assert totals == combine(configs, components, low=low, high=high)
    for row, total in zip(rows, totals, strict=True):
        assert low <= total <= high
        if any(veto and score == -1 for veto, score in zip(vetoes, row, strict=True)):
            assert total == low
        else:
            plain = sum(weight * score for weight, score in zip(weights, row, strict=True))
            assert total == pytest.approx(min(high, max(low, plain)), abs=1e-12)


@given(st.permutations(range(5)))
def test_the_order_of_samples_does_not_matter(order) -> None:
    scoring = Scoring(
        [config("length", shortest=20), config("unfinished", weight=0.5, veto=True)],
        context(),
        low=-3,
        high=1,
    )
    samples = [
        sample("问", "好的。"),
        sample("问", "请多喝水，注意休息，按时测量体温，"),
        sample("问", ""),
        sample("问", "短", finish="length"),
        sample("问", "请多喝水，注意休息，按时测量体温，三天不退请就诊。"),
    ]
    totals = scoring(samples).totals
    assert scoring([samples[i] for i in order]).totals == [totals[i] for i in order]
    assert totals[2] == totals[3] == -3 and totals[4] == 0


def test_every_component_is_told_by_its_title() -> None:
    rules = [config("repetition"), config("length", label="short", longest=12), config("length", weight=2.0)]
    totals, components = Scoring(rules, context(), low=-9, high=9)([sample("头痛怎么办？", "多休息。" * 4)])
    assert set(components) == {"repetition", "short", "length"}
    assert components["short"] == pytest.approx([-(16 / 12 - 1) / 0.5]) and components["length"] == [0.0]
    assert totals == [pytest.approx(components["repetition"][0] + components["short"][0])]


def test_no_rewards_are_no_opinion() -> None:
    assert Scoring([], context(), low=-1, high=1)([sample("问", "答")] * 3) == ([0.0] * 3, {})


class Broken:
    def __init__(self, scores):
        self.scores, self.scale = scores, None

    def score(self, requests, *, normalise=False):
        return self.scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([math.nan], "reward 'judge': gave nan, which is no score"),
        ([], "reward 'judge': 0 scores for 1 answers"),
    ],
)
def test_what_is_no_score_is_refused_by_name(scores, message) -> None:
    judge = config("model", label="judge", model="m", normalise=False)
    scoring = Scoring([judge], context(scorers={"m": Broken(scores)}), low=-1, high=1)
    with pytest.raises(RewardError, match=message):
        scoring([sample("问", "答")])


def test_errors_name_the_reward() -> None:
    with pytest.raises(
        DataError, match=r"^reward 'exam_answer': there is no right answer to a preference; name a"
    ):
        Scoring([config("exam_answer")], context("preference"), low=-1, high=1)


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
def test_every_reward_is_documented(name: str) -> None:
    module = plugins.load(PACKAGE, name)
    assert callable(module.build)
    assert not [key for key, field in module.Config.model_fields.items() if not field.description]
