"""Short runs that differ in the share of domain text only, each from the same model and resumed by itself."""

import gc
import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import torch

from xinglin.config.parts import TrainingConfig
from xinglin.runtime import atomic
from xinglin.runtime.stage_run import StageRun
from xinglin.train import processes
from xinglin.train.corpus import Corpus, Reading, open_corpus
from xinglin.train.fit import build_loop
from xinglin.train.loop import Loop
from xinglin.train.meter import read_rows
from xinglin.train.session import open_session
from xinglin.train.state import State

RESULT = "run.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """What all runs have in common."""

    config: TrainingConfig
    """With ``batch_tokens``, and ``max_steps`` that decide how long a run is."""
    readings: tuple[Reading, Reading]
    """Domain and general text; their shares are set for each run."""
    watched: tuple[str, str]
    """Splits that tell the domain loss and the general loss."""


def run_share(probe: Probe, run: StageRun, share: float, *, from_start: bool) -> Row:
    """Train with this share of domain text, unless that is done already.

    Args:
        from_start: also measure the losses before the first step.

    Returns:
        ``share``, ``steps``, ``tokens``, ``seconds``, ``domain`` and ``general`` loss, those at the start as
        ``start``, and how often each split was read, as ``epochs``.
    """
    folder = f"share-{share}"
    inner = replace(run, out=run.out / folder, scratch=run.scratch / folder)
    if processes.by_first((inner.out / RESULT).is_file):
        found: Row = json.loads((inner.out / RESULT).read_text(encoding="utf-8"))
        return found
    for made in (inner.out, inner.scratch):
        made.mkdir(parents=True, exist_ok=True)
    domain, general = probe.readings
    readings = [replace(domain, share=share), replace(general, share=1 - share)]
    found = {"share": share, **_trained(probe, inner, readings, from_start=from_start)}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    processes.by_first(lambda: _keep(found, inner))
    return found


def _keep(found: Row, run: StageRun) -> None:
    atomic.write_text(run.out / RESULT, json.dumps(found))
    shutil.rmtree(run.scratch)


def _trained(probe: Probe, run: StageRun, readings: list[Reading], *, from_start: bool) -> Row:
    session = open_session(probe.config, run)
    session.shard_model()
    with session.packed(), open_corpus(session, readings, contiguous=False, window_parts=8) as corpus:
        batches = corpus.batches(session, readings[0].split, training=True)
        watched = {
            split: partial(Loop.mean_over, batches=corpus.batches(session, split, training=False))
            for split in probe.watched
        }
        state = build_loop(session, batches, watched, from_start=from_start).fit()
        return _result(probe, corpus, state, run.out / "metrics.jsonl")


def _result(probe: Probe, corpus: Corpus, state: State, metrics: Path) -> Row:
    evaluated = [row for row in processes.by_first(lambda: read_rows(metrics)) if row["kind"] == "eval"]
    names = dict(zip(probe.watched, ("domain", "general"), strict=True))

    def losses(step: int) -> Row:
        return {names[row["split"]]: row["loss"] for row in evaluated if row["step"] == step}

    taken = corpus.mixture.taken(state.step)
    return {
        **losses(state.step),
        "start": losses(0),
        "steps": state.step,
        "tokens": state.tokens,
        "seconds": round(state.seconds, 1),
        "epochs": {
            reading.split: round(each.epochs, 3) for reading, each in zip(corpus.readings, taken, strict=True)
        },
    }


def settings_of_a_run(config: TrainingConfig, *, tokens: int) -> TrainingConfig:
    """``config`` for a run of as many tokens, which repeats its splits as often as that takes, with one evaluation."""
    assert config.batch_tokens
    steps = ceil(tokens / config.batch_tokens)
    return config.model_copy(
        update={"max_steps": steps, "epochs": float(steps * config.batch_tokens), "eval_every_steps": steps}
    )
