"""What is odd about a run is said before it, and what defeats it is refused."""

import numpy as np
import pytest

from xinglin.config.mixing import MixingConfig
from xinglin.config.parts import TrainingConfig
from xinglin.data.shards import Shards, ShardWriter
from xinglin.errors import TrainingError
from xinglin.train.lints import Facts, heed, lint, lint_readings, lint_splits


def config(kind="sft", **settings):
    model = MixingConfig if "mix" in settings else TrainingConfig
    return model.model_validate({"kind": kind, **settings})


def found(settings, **facts):
    return [(finding.key, finding.fatal) for finding in lint(config(**settings), Facts(**facts))]


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo", "reward", "ppo", "grpo"])
def test_the_defaults_are_fine(kind):
    assert found({"kind": kind, "eval_split": "dev"}, steps=1000, rows=32_000) == []


WARMUP, EVAL = "optimizer.warmup", "eval_every_steps"


@pytest.mark.parametrize(
    ("settings", "facts", "expected"),
    [
        ({"optimizer": {"warmup": 1000}}, {"steps": 1130}, [(WARMUP, False)]),
        ({"optimizer": {"warmup": 1000}}, {"steps": 900}, [(WARMUP, True)]),
        ({"optimizer": {"warmup": 0.5}}, {"steps": 900}, [(WARMUP, False)]),
        ({"optimizer": {"warmup": 50}}, {"steps": 900}, []),
        (
            {"optimizer": {"schedule": "wsd", "decay_share": 0.9, "warmup": 0.2}},
            {"steps": 100},
            [("optimizer.decay_share", False)],
        ),
        ({"eval_split": "dev", "eval_every_steps": 2000}, {"steps": 1130}, [(EVAL, False)]),
        (
            {"eval_split": "dev", "eval_every_steps": 2000, "keep_best": True, "early_stop": 3},
            {"steps": 1130},
            [(EVAL, False), ("keep_best", False), ("early_stop", False)],
        ),
        ({"eval_split": "dev", "eval_every_steps": 100, "early_stop": 3}, {"steps": 1130}, []),
        ({"save_every_steps": 2000}, {"steps": 1130}, [("save_every_steps", False)]),
        ({"max_steps": 500}, {"steps": 113}, [("max_steps", False)]),
        ({"max_steps": 500}, {"steps": 500}, []),
        ({"batch_size": 32}, {"rows": 6}, [("batch_size", False)]),
        ({"kind": "ppo", "batch_size": 32}, {"rows": 6}, []),
        ({"optimizer": {"learning_rate": 1e-2}}, {}, [("optimizer.learning_rate", False)]),
        ({"optimizer": {"learning_rate": 1e-2}}, {"small": True}, []),
        ({"tuning": "full", "optimizer": {"learning_rate": 3e-4}}, {}, [("optimizer.learning_rate", False)]),
        ({"kind": "pretrain", "tuning": "full", "optimizer": {"learning_rate": 3e-4}}, {}, []),
        ({"kind": "dpo", "tuning": "full"}, {}, [("optimizer.learning_rate", False)]),
        ({"lora": {"rank": 64, "alpha": 8}}, {}, [("lora.alpha", False)]),
        ({"lora": {"rank": 64, "alpha": 16, "rslora": True}}, {}, []),
        ({"tuning": "full", "lora": {"rank": 64}}, {}, [("lora", False)]),
        ({"optimizer": {"decay_share": 0.1}}, {}, [("optimizer.decay_share", False)]),
        ({"optimizer": {"name": "adafactor", "epsilon": 1e-6}}, {}, [("optimizer.epsilon", False)]),
        ({"optimizer": {"schedule": "wsd", "decay_share": 0.1, "final_ratio": 0.1}}, {}, []),
        (
            {"freeze": {"trainable_layers": 4}, "tuning": "full", "optimizer": {"lora_plus_ratio": 16}},
            {},
            [("optimizer.lora_plus_ratio", False), ("freeze", False)],
        ),
    ],
)
def test_what_is_odd(settings, facts, expected):
    assert found(settings, **facts) == expected


RATE = "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tuning": "full", "mix": [{"split": "a", "share": 0.5}], "optimizer": {"learning_rate": 2e-5}}, []),
        ({"tuning": "full", "optimizer": {"learning_rate": 5e-5}}, [RATE]),
        ({"tuning": "lora"}, []),
        ({"tuning": "lora", "optimizer": {"learning_rate": 5e-4}}, [RATE]),
        ({"tuning": "lora", "mix": [{"split": "a", "share": 0.2}]}, ["mix"]),
    ],
)
def test_pretraining_a_chat_model_is_gentle(settings, expected):
    assert [key for key, _ in found({"kind": "pretrain", **settings}, chat=True)] == expected
    assert found({"kind": "pretrain", **settings}) == []


def test_text_that_is_read_too_often():
    assert not lint_readings({"general": 3.2})
    (finding,) = lint_readings({"general": 3.2, "safety": 12.34})
    assert str(finding).startswith("mix: safety will be read 12.3 times; give it more rows")


def test_the_fatal_stop_and_the_others_are_printed(capsys):
    heed(lint(config(optimizer={"warmup": 1000}), Facts(steps=1130)))
    assert capsys.readouterr().out == (
        "warning: optimizer.warmup: 1000 of all 1130 steps are warm-up; 3 to 10 % is usual\n"
    )
    with pytest.raises(TrainingError, match=r"optimizer.warmup: 1000 steps of warm-up, and the run has 113"):
        heed(lint(config(optimizer={"warmup": 1000}), Facts(steps=113)))


def write(folder, rows):
    writer = ShardWriter(folder, vocabulary=400)
    for number, row in enumerate(rows):
        writer.add(np.asarray(row), np.ones(len(row), dtype=bool), row=number)
    writer.close()
    return Shards(folder)


def test_rows_that_are_in_both_splits(tmp_path):
    training = write(tmp_path / "train", [[1, 2, 3], [4, 5], [6, 7, 8]])
    held = write(tmp_path / "dev", [[4, 5], [5, 4], [4, 5], [1, 2]])
    (finding,) = lint_splits(config(), training, held, split="dev")
    assert str(finding).startswith("eval_split: 2 of the 4 sequences of 'dev' are in 'train' too")
    assert not lint_splits(
        config(eval_split="dev"), training, write(tmp_path / "other", [[9, 9]]), split="dev"
    )
