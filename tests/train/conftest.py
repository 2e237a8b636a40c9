"""A training loop on toys: shards of random tokens with structure, a tiny model, every knob open."""

from functools import partial

import numpy as np
import pytest
from accelerate import Accelerator

from xinglin.config.parts import Optimizer
from xinglin.data.packing import Plan
from xinglin.data.shards import Shards, ShardWriter
from xinglin.models.attention import packed_attention
from xinglin.models.packed import PackedModel
from xinglin.train.batches import shard_batches
from xinglin.train.loop import Loop
from xinglin.train.objectives.language_modeling import Objective
from xinglin.train.state import Schedule


@pytest.fixture
def shards(tmp_path):
    """60 sequences of 4 to 30 tokens that count upwards, so that there is something to learn."""
    random = np.random.default_rng(0)
    writer = ShardWriter(tmp_path / "shards", vocabulary=400)
    for row in range(60):
        length = int(random.integers(4, 31))
        ids = (np.arange(length) + random.integers(0, 300)) % 380
        writer.add(ids, random.random(length) < 0.7, row=row)
    writer.close()
    return Shards(tmp_path / "shards")


@pytest.fixture
def fit(tiny, shards, tmp_path):
    """``fit(name, …)`` trains a fresh model and returns (model, state, folder)."""

    def run(
        name="run",
        *,
        model=None,
        stop_after=None,
        plan=None,
        schedule=None,
        optimizer=None,
        objective=None,
        eval_every=None,
        data=None,
    ):
        out, scratch = tmp_path / name / "out", tmp_path / name / "scratch"
        out.mkdir(parents=True, exist_ok=True)
        model = model or tiny(seed=1)
        used = data or shards
        plan = {"batch_size": 8, "micro_batch_tokens": 64, "epochs": 2, "seed": 5} | (plan or {})
        seen = iter(range(1, 1000))
        loop = Loop(
            model=PackedModel(model),
            batches=shard_batches(
                used,
                Plan(used.lengths, used.counts, group=used.group, **plan),
                objective or Objective(),
                split="train",
            ),
            optimizer_config=Optimizer(**({"learning_rate": 3e-3} | (optimizer or {}))),
            schedule=Schedule(
                **({"log_every": 2, "save_every": 4, "eval_every": eval_every} | (schedule or {}))
            ),
            accelerator=Accelerator(cpu=True),
            out=out,
            scratch=scratch,
            seed=7,
            stop_requested=lambda: stop_after is not None and next(seen) >= stop_after,
        )
        if eval_every:
            whole = Plan(used.lengths, used.counts, batch_size=9, micro_batch_tokens=70, shuffle=False)
            held = shard_batches(used, whole, Objective(), split="dev")
            loop.watched = {"dev": partial(Loop.mean_over, batches=held)}
        core = loop.model.core
        with packed_attention(core):
            state = loop.fit()
        return model, state, tmp_path / name

    return run
