"""What is dropped and what is taken, beside plain loops; quotas hold whatever takes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xinglin import plugins
from xinglin.errors import DataError
from xinglin.selection.choosing import Choice, Rules, random_subset
from xinglin.selection.embeddings import tfidf, unit
from xinglin.selection.pool import Pool
from xinglin.selection.quotas import Groups, Quota, require
from xinglin.selection.safety import Floor
from xinglin.selection.steps import PACKAGE, clusters, drop

N = 60


def pool(seed=0, *, number=N, protected=(), quotas=(), nan=(), width=4):
    random = np.random.default_rng(seed)
    scores = {name: random.standard_normal(number) for name in ("good", "rare")}
    scores["good"][list(nan)] = np.nan
    mask = np.zeros(number, bool)
    mask[list(protected)] = True
    departments = random.choice(4, number, p=[0.7, 0.15, 0.1, 0.05])
    points = unit(random.standard_normal((number, width)).astype(np.float32))
    return Pool(
        scores=scores,
        protected=mask,
        tokens=random.integers(5, 50, number).astype(np.float64),
        groups={"department": Groups(["内科", "外科", "儿科", "妇科"], departments)},
        quotas=[Quota(field="department", **each) for each in quotas],
        embed=lambda: points,
        seed=1,
    )


def apply(pool, **step):
    module = plugins.load(PACKAGE, step["name"])
    module.apply(module.Config.model_validate(step), pool)
    return pool


def shares(pool):
    return np.bincount(pool.groups["department"].codes[pool.chosen], minlength=4)


def test_the_best_by_a_score_and_protected_ones_on_top():
    made = apply(pool(protected=(3, 4), nan=(7,)), name="top", score="good", keep=10)
    free = [i for i in range(N) if i not in (3, 4, 7)]
    best = sorted(free, key=lambda i: -made.scores["good"][i])[:10]
    assert made.taken == best and set(np.flatnonzero(made.chosen)) == {3, 4, *best}
    worst = apply(pool(), name="top", score="good", keep=0.1, order="lowest").taken
    assert worst == np.argsort(pool().scores["good"])[:6].tolist()


def test_several_scores_count_by_the_product_of_their_ranks():
    made = pool()
    ranks = [np.argsort(np.argsort(values)) + 1 for values in made.scores.values()]
    expected = np.argsort(-(ranks[0] * ranks[1]), kind="stable")
    assert (made.ranking(["good", "rare"]) == expected).all()


def test_what_is_dropped_is_never_taken_and_says_why():
    made = apply(pool(protected=(0,), nan=(5,)), name="drop", score="good", above=0.5)
    gone = {i for i in range(1, N) if made.scores["good"][i] > 0.5}
    assert set(made.removals) == gone, "neither what is protected nor what has no score"
    removal = made.removals[min(gone)]
    assert (removal.step, removal.reason) == ("select", "good_above") and "above 0.5" in removal.detail
    assert not set(apply(made, name="top", score="rare", keep=20).taken) & gone
    assert len(apply(pool(), name="drop", score="good", highest=0.1, lowest=0.2).removals) == 6 + 12
    with pytest.raises(ValidationError, match="step drop says nothing"):
        drop.Config(name="drop", score="good")


def test_steps_add_up_to_a_size_and_without_one_all_that_is_left_is_chosen():
    made = apply(pool(), name="k_center", keep=8)
    apply(made, name="top", score="good", keep=20)
    assert len(made.taken) == len(set(made.taken)) == 20
    assert (
        apply(pool(), name="drop", score="good", below=0.0).chosen.sum() == (pool().scores["good"] >= 0).sum()
    )


def test_k_center_is_the_greedy_cover_from_the_medoid():
    made = apply(pool(nan=(1,)), name="k_center", keep=9)
    points = made.embed().astype(np.float64)
    full = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = [int((full**2).sum(axis=1).argmin())]
    while len(expected) < 9:
        expected.append(int(full[:, expected].min(axis=1).argmax()))
    assert made.taken == expected
    begun = apply(pool(protected=(2, 30)), name="k_center", keep=1)
    assert begun.taken == [int(full[:, [2, 30]].min(axis=1).argmax())], "what is protected covers, too"


def stands_for(points, chosen):
    """The sum that facility location makes great."""
    return (points @ points[chosen].T).max(axis=1).clip(0).sum() if chosen else 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("protected", [(), (2, 30)])
def test_facility_location_is_plain_greedy(monkeypatch, seed, protected):
    """Points whose products are exact, with many ties: the earlier of equal ones is taken."""
    monkeypatch.setattr("xinglin.selection.steps.facility_location.BLOCK", 3)
    signs = np.random.default_rng(seed).choice([-0.5, 0.5], (N, 8)).astype(np.float32)
    points = np.where(np.arange(8) < 4, signs, 0)[:, np.random.default_rng(seed).permutation(8)]
    points[::3] = np.roll(points[::3], 2, axis=1)
    made = pool(protected=protected)
    made.embed = lambda: points
    apply(made, name="facility_location", keep=12)
    expected = []
    for _ in range(12):
        free = [i for i in range(N) if i not in {*expected, *protected}]
        expected.append(max(free, key=lambda i: stands_for(points, [*protected, *expected, i])))
    assert made.taken == expected


@pytest.mark.parametrize("seed", range(6))
def test_facility_location_is_near_the_best_of_all_subsets(seed):
    made = apply(pool(seed, number=10), name="facility_location", keep=3)
    points = made.embed()
    best = max(stands_for(points, list(each)) for each in combinations(range(10), 3))
    assert (1 - 1 / np.e) * best <= stands_for(points, made.taken) <= best + 1e-5


def test_every_cluster_gives_its_best():
    made = apply(pool(), name="clusters", score="good", number=5, keep=5)
    labels = clusters.k_means(made.embed(), 5, seed=1).labels
    best = {max(np.flatnonzero(labels == c), key=lambda i: made.scores["good"][i]) for c in range(5)}
    assert set(made.taken) == best
    two = apply(pool(), name="clusters", score="good", number=5, each=2, keep=40)
    assert len(two.taken) == sum(min(2, n) for n in np.bincount(labels))


def test_near_copies_of_what_is_better_are_passed_over():
    made = apply(pool(width=2), name="diverse", score="good", keep=N, similarity=0.95)
    likeness, expected = made.embed() @ made.embed().T, []
    for index in np.argsort(-made.scores["good"], kind="stable").tolist():
        if not expected or likeness[index, expected].max() < 0.95:
            expected.append(index)
    assert made.taken == expected and 5 < len(expected) < N


def test_a_size_in_tokens_is_never_exceeded():
    made = apply(pool(), name="top", score="good", tokens=300)
    taken = made.tokens[made.taken].sum()
    assert 250 < taken <= 300


def test_quotas_reserve_and_forbid():
    plain = shares(apply(pool(), name="top", score="good", keep=20))
    made = apply(
        pool(quotas=[{"least": 0.1}, {"value": "内科", "most": 0.5}]), name="top", score="good", keep=20
    )
    assert plain[0] > 10 and shares(made)[0] == 10 and shares(made).min() >= 2 and shares(made).sum() == 20
    impossible = apply(pool(quotas=[{"most": 0.1}]), name="top", score="good", keep=20)
    assert shares(impossible).tolist() == [2, 2, 2, 2] and impossible.unfilled == 12


@pytest.mark.parametrize("quota", [{"most": 0.1}, {"value": "内科", "most": 0.2}, {"least": 0.2}])
def test_the_random_subset_is_as_large_whatever_quotas_leave_unfilled(quota):
    top = plugins.load(PACKAGE, "top").Config.model_validate({"name": "top", "score": "good", "keep": 50})
    made = pool(quotas=[quota], protected=(3,))
    plugins.load(PACKAGE, "top").apply(top, made)
    rules = Rules([], [top], tfidf.Config(), made.quotas, Floor(), ("department",))
    drawn = random_subset(Choice(made, {}, {3: "tag"}, made.groups, made.chosen), rules)
    assert drawn.sum() == made.chosen.sum() and drawn[3]


def test_room_that_is_reserved_in_vain_goes_to_others():
    quotas = [{"value": "妇科", "least": 0.5}]
    made = pool(quotas=quotas)
    made.scores["good"][made.groups["department"].codes == 3] = np.nan
    apply(made, name="top", score="good", keep=10)
    assert len(made.taken) == 10 and shares(made)[3] == 0


STEPS = [
    {"name": "top", "score": "good"},
    {"name": "k_center"},
    {"name": "facility_location"},
    {"name": "clusters", "score": "good", "each": 50, "number": 3},
    {"name": "diverse", "score": "good", "similarity": 1.0},
]


@given(
    seed=st.integers(0, 500),
    step=st.sampled_from(STEPS),
    least=st.sampled_from([0.0, 0.05, 0.2, 0.25]),
    most=st.sampled_from([0.3, 0.6, 1.0]),
    protected=st.sets(st.integers(0, N - 1), max_size=12),
    keep=st.integers(1, N),
)
@settings(max_examples=60, deadline=None)
def test_quotas_hold_whatever_takes(seed, step, least, most, protected, keep):
    made = pool(seed, protected=protected, quotas=[{"least": least, "most": most}])
    codes, held = made.groups["department"].codes, made.protected.copy()
    apply(made, **step, keep=keep)
    assert not made.protected[made.taken].any() and len(made.taken) == len(set(made.taken)) <= keep
    whole = held.sum() + min(keep, N - held.sum())
    for department in range(4):
        mine = np.count_nonzero(codes[made.chosen] == department)
        there, kept = (np.count_nonzero(codes[mask] == department) for mask in (codes >= 0, held))
        assert mine <= max(kept, int(most * whole + 1e-9))
        if len(made.taken) >= int(4 * least * whole):
            assert mine >= min(there, int(least * whole + 1e-9)) or made.unfilled
    if most == 1.0:
        assert len(made.taken) == min(keep, N - held.sum())


def test_quotas_that_cannot_be_meant_are_refused():
    with pytest.raises(DataError, match="no record has '儿课' in 'department'; known: 内科, 外科"):
        made = pool(quotas=[{"value": "儿课", "least": 0.1}])
        require(made.quotas, made.groups)
    with pytest.raises(DataError, match="the least shares of its 4 values are more than everything"):
        made = pool(quotas=[{"least": 0.4}])
        require(made.quotas, made.groups)
    with pytest.raises(ValidationError, match=r"least 0.5 is above most 0.2"):
        Quota(field="department", least=0.5, most=0.2)
