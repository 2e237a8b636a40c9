"""The time of a rollout is the work that is done for it, counted again here answer by answer."""

import pytest

from xinglin.stages.grpo import Config as Grpo
from xinglin.stages.ppo import Config as Ppo
from xinglin.stages.rloo import Config as Rloo
from xinglin.train import duration
from xinglin.train.memory import Shape, Work, flops, reading_flops
from xinglin.train.rl import duration as rollouts
from xinglin.train.rl.methods import GRPO, Kl

SHAPE = Shape(64, 2, 96, 300, 64, 32, tied=True)
JUDGE = Shape(32, 3, 64, 300, 32, 32, tied=True)
FACTS = {"record": "preference", "records": 20, "tokens": 4000, "trained_tokens": 1600}
"""20 pairs: prompts of (4000 - 1600) / 40 = 60 tokens."""
BASIC = {"rewards": [{"name": "length"}], "max_tokens": 100, "max_new_tokens": 32, "rollout_prompts": 8}


@pytest.fixture(autouse=True)
def countable(monkeypatch):
    """A machine that makes one operation a second, and where a token is written in as many as its rows need."""
    monkeypatch.setattr(rollouts, "forecast_seconds", lambda flops, dtype: flops)
    monkeypatch.setattr(rollouts, "forecast_token_seconds", lambda *, flops, **rest: flops)


@pytest.mark.parametrize(
    ("config", "passes", "copies"),
    [
        (Ppo(kind="ppo", **BASIC, batch_size=4), 2, 1),
        (Rloo(kind="rloo", **BASIC), 2, 4),
        (Grpo(kind="grpo", **BASIC), 0, 8),
        (Grpo(kind="grpo", **BASIC, beta=0.1, batch_size=32), 2, 8),
    ],
)
def test_every_answer_is_counted(config, passes, copies):
    work = Work(4096)
    found = rollouts.rollout_seconds(config, SHAPE, work, FACTS, [JUDGE])
    number = 3  # 20 prompts, 8 at a time
    prompts, answers = number * 8, number * 8 * copies
    tokens = prompts * 60 + answers * 32
    head = answers * 32 / tokens
    write = reading_flops(SHAPE, mean_length=76, head_share=1)  # a token sees 60 and half of the answer
    read = reading_flops(SHAPE, mean_length=30, head_share=0)
    assert found["answering"] == pytest.approx(prompts * 60 * read + answers * 32 * write)
    once = {shape: reading_flops(shape, mean_length=46, head_share=head) for shape in (SHAPE, JUDGE)}
    assert found["scoring"] == pytest.approx(tokens * (passes * once[SHAPE] + once[JUDGE]))
    learn = flops(SHAPE, work, mean_length=46, trained_share=head)
    assert found["updates"] == pytest.approx(config.rollout_epochs * tokens * learn)


def test_evaluations_and_an_early_end_are_counted():
    basic = rollouts.rollout_seconds(Ppo(kind="ppo", **BASIC), SHAPE, Work(4096), FACTS, [])
    held = Ppo(kind="ppo", **BASIC, eval_split="dev", eval_samples=16, eval_every_steps=6)
    more = rollouts.rollout_seconds(held, SHAPE, Work(4096), FACTS, [])
    # 12 steps: before the first, after 6, after 12: twice the 24 prompts of the rollouts
    assert more["answering"] == pytest.approx(3 * basic["answering"])
    assert more["updates"] == basic["updates"]
    short = rollouts.rollout_seconds(Ppo(kind="ppo", **BASIC, max_steps=4), SHAPE, Work(4096), FACTS, [])
    assert {part: 3 * each for part, each in short.items()} == pytest.approx(basic)


def test_a_prompt_of_unknown_length_is_as_long_as_it_may_be():
    exam = {"record": "question", "records": 20, "tokens": None}
    known = FACTS | {"tokens": 20 * 2 * 68 + 1600}
    config = Ppo(kind="ppo", **BASIC)
    assert rollouts.rollout_seconds(config, SHAPE, Work(99), exam, []) == rollouts.rollout_seconds(
        config, SHAPE, Work(99), known, []
    )


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_passes_are_those_that_the_method_asks_for(beta, batch_size):
    config = Grpo(kind="grpo", **BASIC, beta=beta, batch_size=batch_size)
    names = GRPO(
        kl=Kl(beta),
        normalization="dapo",
        scale_advantages=True,
        ratio="token",
        clip_low=0.2,
        clip_high=0.2,
        entropy_coefficient=0.0,
        max_new_tokens=32,
    ).measured(steps=config.steps_per_rollout)
    assert config.measured_passes == ("log_probs" in names) + ("reference" in names)


def test_one_token_waits_for_the_layers_and_for_what_is_slower(monkeypatch):
    monkeypatch.setattr(duration, "forecast_seconds", lambda flops, dtype: flops / 1e9)
    monkeypatch.setattr(duration, "memory_bytes_per_second", lambda: 1e9)

    def seconds(**more):
        at = {"layers": 10, "adapted": False, "flops": 1e8, "read_bytes": 1e7, "dtype": None}
        return duration.forecast_token_seconds(**(at | more))

    waiting = seconds(flops=0, read_bytes=0)
    assert waiting > 0 and seconds(flops=0, read_bytes=0, adapted=True) == pytest.approx(1.5 * waiting)
    assert seconds() == pytest.approx(waiting + 0.1)
    assert seconds(read_bytes=3e8) == pytest.approx(waiting + 0.3)
