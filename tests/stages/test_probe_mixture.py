"""Probing a mixture on a tiny model: equal runs, resumed one by one, and what is said of them."""

import json

import pytest
from pydantic import ValidationError
from stage_toys import Stages

from xinglin import plugins
from xinglin.errors import DataError, Interrupted
from xinglin.report import mixture
from xinglin.report.mixture import advice
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {
    "data": "stage:data",
    "model": "base",
    "split": "medical",
    "general": "talk",
    "eval_split": "medical_dev",
    "general_eval": "talk_dev",
    "shares": [0.7, 0.2, 0.4, 0.9],
    "tokens": 1000,
    "batch_tokens": 256,
    "log_every_steps": 1,
    "max_tokens": 64,
    "tuning": "full",
    "optimizer": {"learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")

    def split(name, rows, **settings):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return {"sources": [{"path": str(path)}], **settings}

    medical = [{"text": f"第{number}条：阿司匹林每日{number % 3}次。"} for number in range(210)]
    talk = [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}"},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in range(70)
    ]
    splits = {
        "medical": split("medical", medical[:200]),
        "talk": split("talk", talk[:60]),
        "medical_dev": split("medical_dev", medical[200:], held_out=True),
        "talk_dev": split("talk_dev", talk[60:], held_out=True),
    }
    made = Stages(folder / "run")
    made.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 64})
    return made


@pytest.fixture(scope="module")
def whole(stages):
    return stages.run("probe_mixture", SMALL, name="whole")


def without_seconds(found):
    return {**found, "runs": [{**run, "seconds": None} for run in found["runs"]]}


def test_runs_differ_in_the_share_only(whole):
    found = whole.details["mixture"]
    runs = found["runs"]
    assert whole.kind == "evaluation"
    assert [run["share"] for run in runs] == [0.2, 0.4, 0.7, 0.9]
    assert {run["steps"] for run in runs} == {4}
    assert all(run["tokens"] == pytest.approx(1024, rel=0.03) for run in runs)
    reads = [run["epochs"]["medical"] / run["epochs"]["talk"] for run in runs]
    assert reads == sorted(reads)
    assert runs[0]["domain"] > runs[-1]["domain"] and runs[0]["general"] < runs[-1]["general"]
    rows = [
        row for run in runs for row in read_rows(whole.folder / f"share-{run['share']:g}" / "metrics.jsonl")
    ]
    starts = [row for row in rows if row["kind"] == "eval" and row["step"] == 0]
    assert {row["split"]: row["loss"] for row in starts} == {
        "medical_dev": found["start"]["domain"],
        "talk_dev": found["start"]["general"],
    }
    firsts = [row["loss"] for row in rows if row["kind"] == "train" and row["step"] == 1]
    assert len(firsts) == 4 and max(firsts) - min(firsts) < 0.5, "all start from the same weights"


def test_what_it_says_and_draws(whole):
    found = whole.details["mixture"]
    proposal = found["proposal"]
    assert proposal["share"] == 0.9 and "largest that was tried" in advice(found)
    assert "mix: [{split: talk, share: 0.10}]" in advice(found)
    assert whole.metrics["mixture.share"]["value"] == 0.9
    assert (whole.folder / "mixture.png").stat().st_size > 10_000
    (entry,) = mixture.mixtures({"stages": [{"name": "probe", "details": whole.details}]})
    assert all("<svg" in chart["svg"] for chart in entry["charts"])
    none = {**found, "proposal": None}
    assert advice(none).startswith("No share that was tried")
    assert "<svg" in mixture.chart_svg(none, "general")


@pytest.mark.parametrize("stop_after", [3, 7])
def test_interrupted_in_a_run_is_uninterrupted(stages, whole, stop_after):
    name = f"cut-{stop_after}"
    with pytest.raises(Interrupted):
        stages.run("probe_mixture", SMALL, name=name, stop_after=stop_after)
    finished = sorted((stages.folder / name).glob("share-*/run.json"))
    assert len(finished) == (stop_after - 1) // 4
    before = [path.stat().st_mtime_ns for path in finished]
    again = stages.run("probe_mixture", SMALL, name=name)
    assert [path.stat().st_mtime_ns for path in finished] == before, "what was done is not done again"
    assert without_seconds(again.details["mixture"]) == without_seconds(whole.details["mixture"])


def test_what_makes_no_sense_is_refused(stages):
    config = plugins.load("xinglin.stages", "probe_mixture").Config
    for settings, message in (
        ({"epochs": 2}, "epochs means nothing here"),
        ({"shares": [0.1, 0.5, 0.9]}, "at least 4 items"),
        ({"shares": [0.1, 0.5, 0.9, 0.5]}, "each needs one run only"),
        ({"general": "medical"}, "must be four splits"),
    ):
        with pytest.raises(ValidationError, match=message):
            config.model_validate({"kind": "probe_mixture", **SMALL, **settings})
    with pytest.raises(DataError, match="split 'talk_dev' is held out"):
        stages.run("probe_mixture", {**SMALL, "general": "talk_dev", "general_eval": "talk"}, name="refused")
