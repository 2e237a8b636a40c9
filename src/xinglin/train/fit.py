"""From an open session to an artifact: run the loop, save, sum up."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from xinglin.data.encoding import Encoded
from xinglin.data.shards import Shards
from xinglin.errors import TrainingError
from xinglin.models.adapt import count_parameters
from xinglin.report.plots import loss_plot
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome
from xinglin.train import processes, sharding
from xinglin.train.batches import Batches, shard_batches
from xinglin.train.lints import Facts, heed, is_chat, lint, lint_splits
from xinglin.train.loop import Loop
from xinglin.train.meter import peak_memory_bytes
from xinglin.train.objectives import ObjectiveProtocol
from xinglin.train.probe import probe
from xinglin.train.saving import save_model
from xinglin.train.session import Session
from xinglin.train.state import Schedule, State, evaluation_interval

SMALL = 100_000_000
"""Parameters of a model below which the usual learning rates do not hold."""


class BatchesFor(Protocol):
    """Builds the batches of a split, in the stage's own order or, for an evaluation, once through."""

    def __call__(self, session: Session, split: str, *, training: bool) -> Batches: ...


def train(session: Session, batches_for: BatchesFor) -> Outcome:
    """Run the loop over the stage's splits and leave weights, metrics and plot in ``run.out``."""
    config = session.config
    session.shard_model()
    with session.packed():
        batches = batches_for(session, config.split, training=True)
        watched: dict[str, Callable[[Loop], dict[str, float]]] = {}
        for split in config.eval_splits:
            held = batches_for(session, split, training=False)
            watched[split] = partial(Loop.mean_over, batches=held)
        if config.probe:
            probe(session.model, batches, session.expected, accelerator=session.accelerator)
        loop = build_loop(session, batches, watched)
        state = loop.fit()
    return finish(session, loop, state)


def build_loop(
    session: Session,
    batches: Batches,
    watched: dict[str, Callable[[Loop], dict[str, float]]],
    *,
    watch: str = "loss",
    highest: bool = False,
    from_start: bool = False,
) -> Loop:
    """The loop of a stage; see ``Schedule`` for ``watch``, ``highest`` and ``from_start``."""
    config, run = session.config, session.run
    heed(lint(config, _known(session, steps=len(batches.steps))))
    every = evaluation_interval(config, steps=len(batches.steps))
    return Loop(
        model=session.model,
        batches=batches,
        optimizer_config=config.optimizer,
        schedule=Schedule(
            config.log_every_steps,
            config.save_every_steps,
            every if watched else None,
            config.keep_best,
            config.early_stop,
            watch,
            highest,
            from_start,
        ),
        accelerator=session.accelerator,
        out=run.out,
        scratch=run.scratch,
        seed=run.seed,
        watched=watched,
        stop_requested=run.stop_requested,
    )


def _known(session: Session, *, steps: int) -> Facts:
    config = session.config
    split = session.run.artifact(config.data or "").details["splits"][config.split]
    small = count_parameters(session.adapted)[0] < SMALL
    return Facts(steps, split["records"], small, is_chat(session.run.inputs.get(config.model or "base")))


def split_batches(
    session: Session,
    split: str,
    *,
    objective: Callable[[Session, Shards], ObjectiveProtocol],
    training: bool,
) -> Batches:
    """Batches of a split's token shards, with the objective that is built for them.

    Raises:
        TrainingError: the split holds preferences and the objective takes single sequences.
    """
    shards = session.shards(split)
    if not training:
        heed(lint_splits(session.config, session.shards(session.config.split), shards, split=split))
    built = objective(session, shards)
    if built.group != shards.group:
        raise TrainingError(
            f"split '{split}' holds preferences, and this stage would learn the rejected answers too; "
            "name a split of documents or conversations"
        )
    steps = session.plan(shards, training=training)
    return shard_batches(shards, steps, built, split=split, share=session.share)


def finish(session: Session, loop: Loop, state: State, *, shown: list[list[Any]] | None = None) -> Outcome:
    """Save the model and plot the loss (first process only), and sum the run up.

    ``shown``: an example of what was trained on, as [text, trained] pieces. Default: a sequence of the first step.
    """
    first = session.accelerator.is_main_process
    with sharding.plain(session.model, keep=first):
        if first:
            save_model(session)
    if first:
        loss_plot(session.run.out / "metrics.jsonl", session.run.out / "loss.png")
    return _outcome(session, loop, state, example(session, loop.batches) if shown is None else shown)


def _outcome(session: Session, loop: Loop, state: State, shown: list[list[Any]]) -> Outcome:
    total, trainable = count_parameters(session.adapted)
    speed = state.tokens / state.seconds if state.seconds else 0.0
    expected = session.expected.seconds
    details = {
        "steps": state.step,
        "epochs": round(state.epoch, 3),
        "tokens": state.tokens,
        "trained_tokens": state.trained_tokens,
        "seconds": round(state.seconds, 1),
        "tokens_per_second": round(speed, 1),
        "processes": session.accelerator.num_processes,
        "sharding": session.config.sharding,
        "peak_memory_bytes": max(processes.gather_rows([peak_memory_bytes(session.accelerator.device)])),
        "forecast_memory_bytes": session.expected.peak,
        "forecast_seconds": round(sum(expected.values()), 1) if expected else None,
        "parameters": total,
        "trainable_parameters": trainable,
        "first_loss": state.first_loss,
        "final_loss": state.last_loss,
        "best_step": None if state.best is None else state.best_step,
        "best_evaluation": state.best,
        "stopped_early": state.stopped_early,
    }
    metrics = {"train.loss": interval(state.last_loss)} if state.last_loss is not None else {}
    reached = state.best if loop.schedule.keep_best else state.evaluated
    if reached is not None:
        metrics[f"eval.{loop.schedule.watch}"] = interval(reached)
    kind = "adapter" if session.config.tuning == "lora" else "model"
    return Outcome(kind, metrics, {"train": details, "example": shown})


def example(session: Session, batches: Batches) -> list[list[Any]]:
    """A sequence of the first step as the model sees it: [text, trained] pieces."""
    group = next(indices for part in batches.steps[0].micro_batches for indices in part if len(indices))
    packed = next(batches.pack(group[: batches.objective.group]).apart())
    weights = np.zeros(packed.lengths[0], dtype=np.float32)
    weights[packed.predictors.numpy() + 1] = 1 if packed.weights is None else packed.weights.numpy()
    return session.renderer.visible(Encoded(packed.input_ids[0].numpy(), weights))
