"""Splits that no data set will have are found before any work."""

import json

import pytest

from xinglin.config.recipe import load_recipe
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
        "test.benchmarks.0.split: stage:data has no split 'exams'; did you mean 'exam'?",
    ]


def test_splits_of_a_finished_data_set(tmp_path):
    made = {"kind": "dataset", "details": {"splits": {"train": {}, "dev": {"held_out": True}}}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "artifact.json").write_text(json.dumps(made), encoding="utf-8")
    stage = "  sft: {kind: sft, data: DATA, split: dev, eval_split: train}\n"
    found = problems(tmp_path, stage.replace("DATA", str(tmp_path / "data")))
    assert found == ["sft.split: split 'dev' is held out for evaluation; name another one to train on"]


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
