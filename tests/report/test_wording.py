import pytest

from xinglin.report import wording


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("exam.accuracy", 0.9316, "93.2 %"),
        ("exam.accuracy", None, "–"),
        ("dialogue.rouge_l", 0.00039, "0.000"),
        ("dialogue.mean_length", 118.4, "118 characters"),
        ("other.thing", 0.00012, "1.2e−04"),
        ("other.thing", -4.5, "−4.50"),
        ("other.thing", float("nan"), "–"),
    ],
)
def test_amounts(metric: str, value: float | None, text: str) -> None:
    assert wording.amount(metric, value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("metric", "difference", "p", "expected"),
    [
        ("exam.accuracy", 0.2, 0.01, "better"),
        ("safety.unsafe_rate", 0.2, 0.01, "worse"),
        ("safety.unsafe_rate", -0.2, 0.01, "better"),
        ("dialogue.mean_length", 9.0, 0.01, "different"),
        ("exam.accuracy", 0.2, 0.05, "same"),
        ("exam.accuracy", 0.2, None, "same"),
    ],
)
def test_judgements(metric: str, difference: float, p: float | None, expected: str) -> None:
    assert wording.judgement({"metric": metric, "difference": difference, "p": p}) == expected


def test_a_relabelled_benchmark_keeps_the_wording_of_its_score() -> None:
    relabelled = wording.wording("exam_zh.accuracy")
    assert (relabelled.label, relabelled.better, relabelled.unit) == (
        "exam accuracy (exam_zh)",
        "higher",
        "share",
    )
    assert wording.wording("exam_zh.truncated").label == "answers cut off (exam_zh)"
    assert wording.wording("mine.kappa") == wording.Wording("mine.kappa")


def test_headlines_come_first() -> None:
    names = ["z.kappa", "dialogue.bleu_4", "exam_zh.accuracy", "dialogue.rouge_l", "exam.accuracy"]
    assert wording.ordered(names) == [
        "exam.accuracy",
        "dialogue.rouge_l",
        "exam_zh.accuracy",
        "dialogue.bleu_4",
        "z.kappa",
    ]


def test_where_a_stage_learned_from_rewards_they_are_its_course() -> None:
    train = {"first_loss": 2.0, "final_loss": 1.5}
    assert wording.course({"train": train}) == "2.00 → 1.50"
    rollouts = {"before": -0.25, "after": 0.5}
    assert wording.course({"train": train, "rl": {"reward": rollouts}}) == "reward -0.250 → 0.500"
    gain = {"before": 0.0, "after": 0.75, "p": 0.0001}
    said = wording.course({"train": train, "rl": {"reward": rollouts, "reward_gain": gain}})
    assert said == "reward 0 → 0.750 ▲"
