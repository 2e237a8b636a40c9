"""Two processes train as one does: the same curve and weights, whole or sharded, interrupted or not."""

import json
import sys
from pathlib import Path

import pytest
import torch
from in_processes import run_in_processes
from safetensors.torch import load_file

from xinglin.train.meter import read_rows

sys.path.insert(0, str(Path(__file__).parent.parent / "stages"))
from stage_toys import Stages

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {
    "data": "stage:data",
    "model": "base",
    "max_tokens": 256,
    "batch_size": 5,
    # Two or three passes per step: an odd number leaves one process without work of its own.
    "micro_batch_tokens": 320,
    "epochs": 2,
    "max_steps": 6,
    "log_every_steps": 1,
    "save_every_steps": 4,
    # With a larger epsilon Adam does not enlarge what rounding leaves of gradients that are zero.
    "optimizer": {"learning_rate": 3e-3, "epsilon": 1e-5, "max_grad_norm": 0.5},
}
LORA = {"tuning": "lora", "lora": {"rank": 4}}
ROLLOUTS = {
    "rewards": [{"name": "length", "shortest": 1, "longest": 4, "edge": 4.0}],
    "max_new_tokens": 8,
    "rollout_prompts": 10,
}
CASES = {
    "sft": ("sft", {"tuning": "full", "eval_split": "dev", "keep_best": True, "eval_every_steps": 2}),
    "sft_lora": ("sft", {**LORA, "gradient_checkpointing": "on"}),
    "sft_phases": (
        "sft",
        {
            **LORA,
            "split": "pairs",
            "preferences": "hindsight",
            "curriculum": {"by": "ifd", "buckets": 2},
            "regulariser": {"split": "documents", "weight": 0.5, "batch_size": 3},
        },
    ),
    "pretrain_freeze": ("pretrain", {"split": "documents", "tuning": "freeze"}),
    "dpo": ("dpo", {**LORA, "split": "pairs"}),
    "dpo_adapter_off": ("dpo", {**LORA, "split": "pairs", "reference": "adapter_off"}),
    "reward": ("reward", {**LORA, "split": "pairs"}),
    "ppo": ("ppo", {**LORA, **ROLLOUTS, "value": "adapter", "kl_target": 1.0, "max_update_kl": 0.5}),
    "ppo_full": ("ppo", {"tuning": "full", **ROLLOUTS, "value": "shared"}),
    "grpo": ("grpo", {**LORA, **ROLLOUTS, "answers_per_prompt": 3, "batch_size": 15, "beta": 0.1}),
}
QUICK = ("sft",)
SLOW = tuple(name for name in CASES if name not in QUICK)


def case(name, *, sharding="none"):
    kind, settings = CASES[name]
    return kind, {**SMALL, **settings, "sharding": sharding}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A finished data stage, and one process that has trained every quick case."""
    folder = tmp_path_factory.mktemp("several")
    stages = Stages(folder)
    sources = {
        "documents": ("sample:documents", 24),
        "train": ("sample:dialogues", 40),
        "dev": ("sample:dialogues_dev", 8),
        "pairs": ("sample:preferences", 24),
    }
    splits = {
        split: {"sources": [{"path": path, "max_rows": rows}], "held_out": split == "dev"}
        for split, (path, rows) in sources.items()
    }
    made = stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 600, "max_tokens": 256})
    (made.folder / "artifact.json").write_text(json.dumps(made.to_json()))
    return stages


@pytest.fixture(scope="module")
def alone(stages):
    """``alone(name)``: the folder of a case that one process has trained."""

    def train(name):
        if f"{name}.alone" not in stages.made:
            kind, settings = case(name)
            stages.run(kind, settings, name=f"{name}.alone")
        return stages.made[f"{name}.alone"].folder

    return train


def curve(folder):
    """Per row, how it is named, and its numbers without those of time and memory."""
    rows = read_rows(folder / "metrics.jsonl")
    unlike = ("kind", "split", "seconds", "tokens_per_second", "memory_bytes")
    return [
        ((row["kind"], row.get("split")), {key: value for key, value in row.items() if key not in unlike})
        for row in rows
    ]


def weights(folder):
    return {
        f"{path.name}:{name}": tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_same_training(folder, expected):
    assert len(curve(folder)) == len(curve(expected)) >= 6
    for (what, numbers), (wanted, others) in zip(curve(folder), curve(expected), strict=True):
        assert what == wanted
        # Rewards of DPO are small differences of large sums.
        assert numbers == pytest.approx(others, rel=1e-5, abs=1e-5)
    found, known = weights(folder), weights(expected)
    assert found.keys() == known.keys()
    for name, tensor in known.items():
        distance = torch.linalg.vector_norm(found[name] - tensor) / torch.linalg.vector_norm(tensor)
        assert distance < 1e-5, name


def assert_processes_train_as_one(names, stages, alone):
    """Train the cases in two processes, whole and sharded, and compare."""
    jobs = []
    for name in names:
        for sharding in ("none", "full"):
            kind, settings = case(name, sharding=sharding)
            jobs.append(
                {
                    "folder": str(stages.folder),
                    "kind": kind,
                    "settings": settings,
                    "name": f"{name}.{sharding}",
                }
            )
    first, second = run_in_processes(jobs)
    for job, details, other in zip(jobs, first, second, strict=True):
        assert details["processes"] == 2 and details["sharding"] == job["settings"]["sharding"]
        assert (details["tokens"], details["best_step"]) == (other["tokens"], other["best_step"])
        assert_same_training(stages.folder / job["name"], alone(job["name"].split(".")[0]))


def test_two_processes_train_as_one(stages, alone):
    assert_processes_train_as_one(QUICK, stages, alone)


@pytest.mark.slow
def test_two_processes_train_as_one_in_every_stage(stages, alone):
    assert_processes_train_as_one(SLOW, stages, alone)


@pytest.mark.slow
def test_processes_agree_and_share_a_model(stages):
    checks = ("agreeing", "sharded")
    jobs = [{"folder": str(stages.folder), "check": check} for check in checks]
    assert run_in_processes(jobs) == [["checked"] * len(checks)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_interrupted_equals_uninterrupted(stages, alone, sharding):
    """One process is asked to stop, both do; then two go on, to the same bits, or one does, to the same weights."""
    kind, settings = case("sft_lora", sharding=sharding)
    dropped = {**settings, "lora": {"rank": 4, "dropout": 0.2}}
    stopped = {"stop_rank": 1, "stop_after": 3}
    straight, broken, half = (f"{name}.{sharding}.interrupted" for name in ("straight", "broken", "half"))
    job = {"folder": str(stages.folder), "kind": kind}
    jobs = [
        {**job, "settings": dropped, "name": straight},
        {**job, "settings": dropped, "name": broken, **stopped},
        {**job, "settings": dropped, "name": broken},
        {**job, "settings": settings, "name": half, **stopped},
    ]
    for said in run_in_processes(jobs):
        assert said[1] == said[3] == "interrupted: saved at step 3 of 6"
    for name, tensor in weights(stages.folder / straight).items():
        assert torch.equal(tensor, weights(stages.folder / broken)[name]), name
    stages.run(kind, settings, name=half)
    assert_same_training(stages.folder / half, alone("sft_lora"))
