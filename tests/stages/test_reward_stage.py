"""The reward stage on toys: it learns, judges itself on held-out pairs, and refuses what it cannot learn from."""

import json

import numpy as np
import pytest
from stage_toys import Stages
from transformers import AutoModelForSequenceClassification

from xinglin.config.recipe import load_recipe
from xinglin.data.records import Message
from xinglin.errors import DataError, ModelError, RecipeError, TrainingError
from xinglin.evaluate.scoring import score
from xinglin.models.load import load_model
from xinglin.models.reward import RewardModel
from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DRUGS = ("氨氯地平", "二甲双胍", "布地奈德", "别嘌醇", "甲巯咪唑", "糠酸莫米松", "阿莫西林", "布洛芬")
ASKS = ("高血压", "糖尿病", "哮喘", "痛风", "甲亢", "湿疹", "咽炎", "头痛")
SETTINGS = {
    "data": "stage:data",
    "model": "base",
    "split": "pairs",
    "max_tokens": 128,
    "batch_size": 8,
    "log_every_steps": 1,
    "epochs": 6,
    "optimizer": {"learning_rate": 5e-3},
}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def pair(number, drug, *, margin=None):
    """To ask for a doctor is better than to name a drug; lengths say nothing."""
    row = {
        "prompt": f"{ASKS[number % len(ASKS)]}{number}怎么办？",
        "chosen": "请看医生。" + "好。" * (number % 3),
        "rejected": f"吃{drug}。" + "好。" * (number // 3 % 3),
    }
    return row if margin is None else {**row, "margin": margin}


def rankings():
    """Four rows with three answers and four with two, the doctor first."""
    for number in range(8):
        answers = ["请看医生。", f"吃{DRUGS[number]}。", "不用管。"][: 3 - number % 2]
        yield {
            "prompt": f"{ASKS[number]}怎么办？",
            "answers": answers,
            "scores": [5.0, 2.0, 1.0][: len(answers)],
        }


@pytest.fixture
def stages(tmp_path):
    splits = {
        "pairs": [pair(number, DRUGS[number % 6], margin=0.5) for number in range(40)],
        "pairs_dev": [pair(number, DRUGS[6 + number % 2]) for number in range(100, 130)],
        "ranked": list(rankings()),
        "train": [
            {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "您好。"}]}
        ],
    }
    for name, rows in splits.items():
        write_rows(tmp_path / f"{name}.jsonl", rows)
    stages = Stages(tmp_path / "run")
    sources = {name: {"sources": [{"path": str(tmp_path / f"{name}.jsonl")}]} for name in splits}
    sources["pairs_dev"]["held_out"] = True
    stages.run("data", {"tokenizer": "base", "splits": sources, "vocabulary": 400, "max_tokens": 128})
    return stages


@pytest.mark.parametrize("tuning", ["lora", "full", "freeze"])
def test_it_learns_and_says_how_well(stages, tuning):
    made = stages.run("reward", {**SETTINGS, "eval_split": "pairs_dev", "tuning": tuning})
    assert made.kind == "reward_model"
    rows = read_rows(made.folder / "metrics.jsonl")
    evals = [row for row in rows if row["kind"] == "eval"]
    assert rows[0]["loss"] > 0.3 and evals[-1]["loss"] < 0.3
    accuracy = made.metrics["reward.accuracy"]
    assert accuracy["value"] >= 0.9 and accuracy["low"] < accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] == pytest.approx(evals[-1]["accuracy"]), (
        "micro-averaged over the pairs, both times"
    )
    assert made.metrics["reward.margin"]["value"] == pytest.approx(evals[-1]["margin"], abs=1e-3)
    judged = made.details["reward"]
    assert judged["pairs"] == 30 == sum(judged["histogram"]["counts"]) and list(judged["sources"]) == [
        "pairs_dev.jsonl"
    ]
    assert (made.folder / "reward.png").stat().st_size > 1000
    model = RewardModel.load(str(made.folder))
    good, bad = model.score(
        [([Message("user", "皮疹怎么办？")], answer) for answer in ("请看医生。", "吃阿司匹林。")]
    )
    assert good > bad
    assert model.scale is not None and model.scale._asdict() == judged["scale"]
    scored = np.array(
        [row["chosen_score"] for row in evals[-1:]] + [row["rejected_score"] for row in evals[-1:]]
    )
    assert scored == pytest.approx([judged["chosen_score"], judged["rejected_score"]], abs=1e-3)


def test_a_file_is_scored_as_in_training(stages, tmp_path):
    made = stages.run("reward", {**SETTINGS, "eval_split": "pairs_dev", "center": 0.1})
    rows = []
    source = str(tmp_path / "pairs_dev.jsonl")
    summary = score(source, model=made.folder, write=rows.append)
    judged = made.details["reward"]
    assert summary["pairs"]["accuracy"] == judged["accuracy"]
    assert summary["pairs"]["margin"]["value"] == pytest.approx(judged["margin"]["value"], abs=1e-4)
    assert np.mean([row["margin"] for row in rows]) == pytest.approx(judged["margin"]["value"], abs=1e-4)
    answers = str(tmp_path / "train.jsonl")
    assert "pairs" not in score(answers, model=made.folder, write=rows.append)
    assert isinstance(rows[-1]["score"], float) and rows[-1]["messages"][-1]["content"] == "您好。"


def test_merged_it_scores_the_same_and_chat_is_refused(stages, tmp_path):
    made = stages.run("reward", SETTINGS | {"epochs": 2})
    merged = stages.run("merge", {"model": "stage:reward"})
    assert merged.kind == "reward_model"
    assert 0 < merged.details["merge"]["adapter_effect"] > merged.details["merge"]["max_logit_difference"]
    requests = [([Message("user", "头痛怎么办？")], answer) for answer in ("请看医生。", "不用管。")]
    for normalise in (False, True):
        one, other = (
            RewardModel.load(str(folder)).score(requests, normalise=normalise)
            for folder in (made.folder, merged.folder)
        )
        assert one == pytest.approx(other, abs=1e-4)
    plain = AutoModelForSequenceClassification.from_pretrained(merged.folder)  # as any other tool loads it
    assert plain.config.num_labels == 1 and plain.config.pad_token_id is not None
    with pytest.raises(ModelError, match="is a full model already"):
        stages.run("merge", {"model": "stage:merge"}, name="again")
    with pytest.raises(ModelError, match="a reward model scores answers and writes none"):
        load_model(str(made.folder))


def test_a_row_counts_once_however_many_answers_it_ranks(stages, monkeypatch):
    from xinglin.train.objectives import reward

    seen = []
    original = reward.Objective.__init__

    def spy(self, margins, weights, *, center):
        seen.append((margins, weights))
        original(self, margins, weights, center=center)

    monkeypatch.setattr(reward.Objective, "__init__", spy)
    made = stages.run("reward", {**SETTINGS, "split": "ranked", "margin": "margin", "epochs": 1})
    margins, weights = seen[0]
    assert len(weights) == 4 * 3 + 4 and weights.sum() == pytest.approx(16)
    assert sorted(set(margins.tolist())) == [1.0, 3.0, 4.0]
    assert weights.max() / weights.min() == pytest.approx(3), (
        "three pairs of a row weigh what one of another does"
    )
    assert "reward.accuracy" not in made.metrics and "scale" in made.details["reward"]


def test_packing_and_sharing_change_nothing(stages):
    folders = [
        stages.run("reward", {**SETTINGS, "epochs": 1, "packing": packing}, name=f"packing_{packing}").folder
        for packing in (True, False)
    ]
    requests = [([Message("user", "头痛怎么办？")], answer) for answer in ("请看医生。", "不用管。")]
    one, other = (RewardModel.load(str(folder)).score(requests) for folder in folders)
    assert one == pytest.approx(other, abs=1e-3)


def test_what_cannot_be_learned_is_refused(stages, tmp_path):
    with pytest.raises(TrainingError, match="split 'train' holds no preferences; name one that does"):
        stages.run("reward", {**SETTINGS, "split": "train"})
    with pytest.raises(
        DataError, match="its margin is None, no number; give every row one, or leave margin out"
    ):
        stages.run("reward", {**SETTINGS, "margin": "margin", "eval_split": "pairs_dev"})
    with pytest.raises(ValueError, match="continue: same means nothing to a reward model"):
        stages.run("reward", {**SETTINGS, "continue": "same"})
    write_rows(tmp_path / "same.jsonl", [{"prompt": "问", "chosen": "好", "rejected": "好"}])
    same = {"same": {"sources": [{"path": str(tmp_path / "same.jsonl")}]}}
    with pytest.raises(DataError, match="1 chosen_equals_rejected, such as"):
        stages.run("data", {"tokenizer": "stage:data", "splits": same}, name="same")


def test_pairs_of_one_row_stay_on_one_side_of_a_hold_out(stages, tmp_path):
    rows = [{"prompt": f"{number}怎么办？", "answers": ["好", "中", "差"]} for number in range(200)]
    write_rows(tmp_path / "many.jsonl", rows)
    splits = {"many": {"sources": [{"path": str(tmp_path / "many.jsonl")}], "hold_out": {"many_dev": 0.3}}}
    made = stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400}, name="held")
    prompts = {}
    for split in ("many", "many_dev"):
        lines = (made.folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        prompts[split] = {json.loads(line)["prompt"][0]["content"] for line in lines}
        assert len(lines) == 3 * len(prompts[split])
    assert not prompts["many"] & prompts["many_dev"] and 30 < len(prompts["many_dev"]) < 90


def test_only_what_scores_takes_a_reward_model(tmp_path):
    """Said when the recipe is checked, before any work."""
    text = """
model: tiny:qwen3
stages:
  data:
    kind: data
    splits:
      talk: {sources: [{path: "sample:dialogues"}]}
      pairs: {sources: [{path: "sample:preferences"}]}
  reward: {kind: reward, split: pairs}
  sft: {kind: sft, split: talk}
  exam: {kind: evaluate, models: [stage:reward], benchmarks: [{name: dialogue, split: talk}]}
  ties: {kind: merge, method: ties, model: stage:reward, models: [stage:sft]}
  inner: {kind: merge, method: ties, model: base, models: [stage:reward]}
"""
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        load_recipe(tmp_path / "r.yaml")
    places = ("stages.exam.models.0", "stages.inner.models.0")
    found = {problem.key: problem.message for problem in refused.value.problems}
    assert "stage:reward is a reward model; use method stack" in found.pop("stages.ties")
    assert found == dict.fromkeys(
        places, "stage 'reward' makes a reward model, this needs a model or an adapter"
    )


def test_a_merge_is_of_a_reward_model_only_where_one_is_named(tmp_path):
    text = """
model: tiny:qwen3
stages:
  data: {kind: data, splits: {pairs: {sources: [{path: "sample:preferences"}]}}}
  dpo: {kind: dpo, split: pairs}
  reward: {kind: reward, split: pairs}
  merge: {kind: merge}
  judge: {kind: merge, model: stage:reward}
  ppo: {kind: ppo, split: pairs, rewards: [{name: model}]}
"""
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    stages = load_recipe(tmp_path / "r.yaml").stages
    assert stages["merge"].inputs["model"].text == "stage:dpo" and stages["merge"].produces == ("model",)
    assert stages["judge"].produces == ("reward_model",)
    assert stages["ppo"].inputs["model"].text == "stage:merge"
    assert stages["ppo"].inputs["rewards.0.model"].text == "stage:judge"
