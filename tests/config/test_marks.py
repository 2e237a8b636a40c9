"""Splits that no data set will have are found before any work."""

import json

import pytest

from xinglin.config.recipe import load_recipe
from xinglin.data import samples
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.records import kind_of
from xinglin.data.sources import Source, read
from xinglin.errors import RecipeError

DATA = """\
model: tiny:qwen3
stages:
  data:
    kind: data
    splits:
      docs: {sources: [{path: "sample:documents"}], hold_out: {docs_dev: 0.1}}
      train: {sources: [{path: "sample:dialogues"}], hold_out: {dev: 0.1}}
      exam: {sources: [{path: "sample:exam"}], held_out: true}
"""


def problems(tmp_path, stages):
    path = tmp_path / "recipe.yaml"
    path.write_text(DATA + stages, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return [str(problem).split("stages.", 1)[1] for problem in caught.value.problems]


def test_misspelt_and_held_out_splits_of_all_stages_at_once(tmp_path):
    stages = """\
  words: {kind: vocabulary, splits: [doc], characters: 9}
  read: {kind: pretrain, split: docs, mix: [{split: dev, share: 0.1}], eval_split: [docs_dev, deev]}
  sft: {kind: sft, split: trian, regulariser: {split: docz, weight: 0.1, batch_size: 2}}
  answers: {kind: sample, splits: [train, exma], keep: all, answers: 1}
  dpo: {kind: dpo, data: stage:answers, eval_split: dev}
  test: {kind: evaluate, data: stage:data, benchmarks: [{name: exam, split: exams}]}
"""
    assert problems(tmp_path, stages) == [
        "words.splits.0: stage:data has no split 'doc'; did you mean 'docs'?",
        "read.eval_split.1: stage:data has no split 'deev'; did you mean 'dev'?",
        "read.mix.0.split: split 'dev' is held out for evaluation; name another one to train on",
        "sft.split: stage:data has no split 'trian'; did you mean 'train'?",
        "sft.regulariser.split: stage:data has no split 'docz'; did you mean 'docs'?",
        "answers.splits.1: stage:data has no split 'exma'; did you mean 'exam'?",
        "dpo.eval_split: stage:answers has no split 'dev'; known: train",
        "dpo: split 'train' holds conversations; name a split of preferences",
        "test.benchmarks.0.split: stage:data has no split 'exams'; did you mean 'exam'?",
    ]


def test_splits_of_a_finished_data_set(tmp_path):
    made = {"kind": "dataset", "details": {"splits": {"train": {}, "dev": {"held_out": True}}}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "artifact.json").write_text(json.dumps(made), encoding="utf-8")
    stage = "  sft: {kind: sft, data: DATA, split: dev, eval_split: train}\n"
    found = problems(tmp_path, stage.replace("DATA", str(tmp_path / "data")))
    assert found == ["sft.split: split 'dev' is held out for evaluation; name another one to train on"]


KINDS = """\
  more:
    kind: data
    splits:
      docs: {sources: [{path: "sample:documents"}], hold_out: {docs_dev: 0.1}}
      talk: {sources: [{path: "sample:dialogues"}], hold_out: {talk_dev: 0.1}}
      pairs: {sources: [{path: "sample:preferences"}]}
      exam: {sources: [{path: "sample:exam"}]}
      named: {sources: [{path: RECIPE, format: preference}]}
      unknown: {sources: [{path: RECIPE}]}
  answers: {kind: sample, splits: [pairs], keep: all, answers: 1}
"""


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            "{kind: pretrain, split: docs, mix: [{split: pairs, share: 0.1}]}",
            "split 'pairs' holds preferences",
        ),
        ("{kind: sft, split: pairs}", "split 'pairs' holds preferences; set preferences: chosen to train"),
        ("{kind: sft, split: named}", "split 'named' holds preferences; set preferences: chosen to train"),
        ("{kind: sft, split: exam}", "split 'exam' holds questions; name a split of conversations"),
        (
            "{kind: sft, split: talk, preferences: hindsight}",
            "split 'talk' holds conversations; preferences: hind",
        ),
        (
            "{kind: sft, split: talk, eval_split: docs_dev, regulariser: {split: pairs}}",
            "regulariser.split needs doc",
        ),
        ("{kind: reward, split: talk}", "split 'talk' holds conversations; name a split of preferences"),
        (
            "{kind: dpo, split: pairs, eval_split: talk_dev}",
            "split 'talk_dev' holds conversations; name a split of p",
        ),
        ("{kind: dpo, data: stage:answers, split: pairs}", "split 'pairs' holds conversations"),
        (
            "{kind: grpo, split: docs, rewards: [{name: length}]}",
            "split 'docs' holds documents; it asks nothing",
        ),
        (
            "{kind: grpo, split: exam, eval_split: talk_dev, rewards: [{name: length}]}",
            "split 'exam' questions and split 'talk_dev' conversations: the rewards can judge one kind",
        ),
        (
            "{kind: sample, splits: [talk, exam], keep: all, answers: 1}",
            "hold conversation and question records",
        ),
        ("{kind: evaluate, benchmarks: [{name: exam, split: talk}]}", "and benchmark 'exam' asks questions"),
        (
            '{kind: data, splits: {one: {sources: [{path: "sample:exam"}, {path: "sample:dialogues"}]}}}',
            "splits.one: sample:exam questions, sample:dialogues conversations; a split holds one kind of record",
        ),
    ],
)
def test_a_split_of_another_kind_is_found_before_any_work(tmp_path, stage, message):
    kinds = KINDS.replace("RECIPE", str(tmp_path / "recipe.yaml"))
    data = "" if "data:" in stage or "kind: data" in stage else "data: stage:more, "
    (found,) = problems(tmp_path, f"{kinds}  last: {stage.replace('{', '{' + data, 1)}\n")
    assert message in found


def test_a_kind_that_only_reading_tells_is_left_to_the_run(tmp_path):
    path = tmp_path / "recipe.yaml"
    stages = "".join(
        f"  {kind}: {{kind: {kind}, split: unknown, data: stage:more}}\n" for kind in ("sft", "dpo")
    )
    path.write_text(DATA + KINDS.replace("RECIPE", str(path)) + stages, encoding="utf-8")
    recipe = load_recipe(path)
    assert [recipe.stages[kind].config.split for kind in ("sft", "dpo")] == ["unknown", "unknown"]


def test_the_kinds_of_the_samples_are_those_of_their_rows(tmp_path):
    for name in samples.names():
        source = Source(path=f"sample:{name}", max_rows=1)
        with Quarantine(tmp_path / name) as quarantine:
            (record, *_) = read(source, kind=None, account=SourceAccount(), quarantine=quarantine)
        assert kind_of(record) == source.makes == samples.KINDS[name]


def test_what_follows_from_another_problem_is_not_said(tmp_path):
    stages = "  other: {kind: data, splits: {}}\n  sft: {kind: sft, data: stage:other, split: anything}\n"
    assert [problem.split(":")[0] for problem in problems(tmp_path, stages)] == ["other.splits"]


def test_going_on_with_the_adapter_of_a_full_model_is_refused_before_any_work(tmp_path):
    kinds = {
        "pretrain": "split: docs",
        "sft": "",
        "dpo": "",
        "rloo": "rewards: [{name: length}]",
    }
    stages = "".join(
        f"  {kind}: {{kind: {kind}, model: base, continue: same, {more}}}\n" for kind, more in kinds.items()
    )
    cure = "continue: same needs an adapter, and base is a full model; leave it out"
    assert problems(tmp_path, stages) == [f"{kind}: {cure}" for kind in kinds]
