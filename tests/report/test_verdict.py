from typing import Any

import pytest
from fake_run import RunBuilder

from xinglin.report.summary import summarise
from xinglin.report.verdict import verdict


def said(builder: RunBuilder) -> str:
    return verdict(summarise(builder.folder)).replace("\u202f", " ")


def test_gains_and_losses_of_every_stage(builder: RunBuilder) -> None:
    builder.everything()
    assert said(builder) == (
        "SFT raised exam accuracy from 26 % to 93 % (p < 0.001); "
        "DPO lowered unsafe answers from 88 % to 3.3 % (p < 0.001)."
    )


def test_a_loss_is_said_with_the_gain(builder: RunBuilder) -> None:
    builder.everything()
    details = summarise(builder.folder)["stages"][3]["details"]
    row = next(row for row in details["comparisons"] if row["metric"] == "safety.unsafe_rate")
    row["p"] = 0.031
    builder.change("exam", details=details)
    assert "to 93 % (p < 0.001), but raised unsafe answers from 79 % to 88 % (p = 0.031);" in said(builder)


def test_changes_within_chance_are_not_claimed(builder: RunBuilder) -> None:
    builder.everything()
    for index in (3, 6):
        details = summarise(builder.folder)["stages"][index]["details"]
        for row in details["comparisons"]:
            row["p"] = 0.2
        builder.change(details_stage(index), details=details)
    assert (
        said(builder) == "No stage changed a measured quality by more than chance (paired tests, 5 % level)."
    )


@pytest.mark.parametrize(
    ("baseline", "subject"),
    [
        ("sft", "DPO"),
        ("pretrain", "SFT and DPO"),
        ("tiny:qwen3", "Pretraining, SFT and DPO"),
        ("dpo", "Merging"),
    ],
)
def test_the_subject_is_what_lies_between_the_models(
    builder: RunBuilder, baseline: str, subject: str
) -> None:
    builder.everything()
    details: dict[str, Any] = summarise(builder.folder)["stages"][6]["details"]
    for row in details["comparisons"]:
        row["baseline"] = baseline
    builder.change("final", details=details)
    assert f"; {subject} lowered unsafe answers" in said(builder)


def test_models_of_different_lines_are_named(builder: RunBuilder) -> None:
    builder.everything()
    builder.change("dpo", inputs={"model": "pretrain"})
    assert "; merge (against sft) lowered" in said(builder)


def details_stage(index: int) -> str:
    return {3: "exam", 6: "final"}[index]
