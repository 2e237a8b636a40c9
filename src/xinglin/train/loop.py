"""The only training loop: batches, accumulation, clipping, schedule, logging, evaluating, saving, resuming.

A step is a pure function of the weights and its number: the plan says which sequences it takes, and random
numbers (dropout) start from (seed, step, process). A resumed run therefore repeats an uninterrupted one bit by bit.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from xinglin.config.parts import Optimizer
from xinglin.data.packing import Step
from xinglin.errors import Interrupted, RewardError, TrainingError
from xinglin.models.packed import PackedModel
from xinglin.runtime.progress import progress
from xinglin.train import checkpoint, processes, sharding
from xinglin.train.batches import Batches, turns
from xinglin.train.meter import Meter, MetricsFile, Sums, Values, peak_memory_bytes, ratios
from xinglin.train.optim import build_optimizer, set_rate, step_unless
from xinglin.train.schedule import learning_rate
from xinglin.train.state import Schedule, State

SHOWN = ("loss", "accuracy", "margin", "grad_norm", "learning_rate", "tokens_per_second", "memory_bytes")
"""What the progress display shows of a row of metrics."""


@dataclass
class Loop:
    """One training run. ``fit`` returns when it is done, or raises ``Interrupted`` after saving.

    ``out`` takes metrics and plots; ``scratch`` takes checkpoints.
    """

    model: PackedModel
    batches: Batches
    optimizer_config: Optimizer
    schedule: Schedule
    accelerator: Accelerator
    out: Path
    scratch: Path
    seed: int
    watched: dict[str, Callable[["Loop"], dict[str, float]]] = field(default_factory=dict)
    """Name -> measures the model as it is now. The first one decides which step is the best."""
    stop_requested: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = print

    def fit(self) -> State:
        """Train to the end of the steps, from the newest checkpoint that verifies."""
        self.state = State()
        self.model.to(self.accelerator.device)
        self.wrapped = sharding.wrap(self.model, self.accelerator)
        self.optimizer = build_optimizer(self.model, self.optimizer_config)
        self.prepared = self.accelerator.prepare_optimizer(self.optimizer)
        self._resume()
        self.saved_step = self.state.step
        self.metrics = (
            MetricsFile(self.out, resume_step=self.state.step) if self.accelerator.is_main_process else None
        )
        self.meter = Meter()
        try:
            with progress(len(self.batches.steps), "training") as bar:
                bar.advance(self.state.step)
                self._run(bar)
        finally:
            if self.metrics:
                self.metrics.close()
        if self.schedule.keep_best and processes.by_first((self.scratch / "best").is_dir):
            self._load_best()
        return self.state

    def _run(self, bar: Any) -> None:
        if self._is_unevaluated():
            self._evaluate()
        clock = time.perf_counter()
        while not self.state.stopped_early:
            try:
                with self._saved_on_failure():
                    step = self.batches.steps[self.state.step]
            except IndexError:
                break
            self._step(self.state.step, step)
            self.state.step += 1
            self.state.epoch = step.epoch
            self.state.tokens += step.tokens
            self.state.trained_tokens += step.trained_tokens
            now = time.perf_counter()
            self.state.seconds, clock = self.state.seconds + now - clock, now
            self._after(bar)
        self._log()
        if self.schedule.eval_every and self.state.evaluated_step != self.state.step:
            self._evaluate()
        if self.saved_step != self.state.step:
            self._save()

    def _is_unevaluated(self) -> bool:
        """Whether a run begins with the evaluation that it was interrupted in, or with one before the first step."""
        every, step = self.schedule.eval_every, self.state.step
        if not every:
            return False
        return self.state.evaluated_step != step and step % every == 0 if step else self.schedule.from_start

    @contextmanager
    def _saved_on_failure(self) -> Iterator[None]:
        """Answers and rewards may take long and fail for reasons of their own: the steps before them are kept."""
        try:
            yield
        except (RewardError, Interrupted):
            if self.saved_step != self.state.step:
                self._save()
            raise

    def _after(self, bar: Any) -> None:
        done = self.state.step
        stop = processes.any_process(self.stop_requested())
        evaluate = self.schedule.eval_every and done % self.schedule.eval_every == 0
        save = stop or done % self.schedule.save_every == 0
        fields: dict[str, Any] = {}
        if done % self.schedule.log_every == 0 or evaluate or save:
            fields = self._log()
        bar.advance(1, **fields)
        if evaluate:
            self._evaluate()
        if save:
            self._save()
        self.meter.restart_clock()
        if stop:
            raise Interrupted(f"saved at step {done} of {len(self.batches.steps)}")

    def _step(self, number: int, step: Step) -> None:
        torch.manual_seed(self.seed * 1_000_003 + number * 1_009 + self.accelerator.process_index)
        rate = learning_rate(self.optimizer_config, number, len(self.batches.steps))
        set_rate(self.optimizer, rate)
        self.wrapped.train()
        objective = self.batches.objective
        weight = max(objective.weight(step), 1.0)
        mine = turns(step, self.accelerator)
        sums = Sums(weight)
        self.batches.before(self.wrapped, step)
        for turn, (indices, share) in enumerate(mine, start=1):
            packed = self.batches.pack(indices).to(self.accelerator.device)
            last = turn == len(mine)
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                with self.accelerator.autocast():
                    loss, metrics = objective.loss(self.wrapped, packed, indices)
                self.accelerator.backward(loss * (share * self.accelerator.num_processes / weight))
            sums.add(loss, metrics, share)
        values = sums.over_processes(self.accelerator)
        norm = self.accelerator.clip_grad_norm_(
            self.wrapped.parameters(), self.optimizer_config.max_grad_norm
        )
        norm = sharding.whole(torch.as_tensor(norm, device=self.accelerator.device))
        if self.accelerator.scaler is None:
            bad = ~(torch.isfinite(norm) & torch.isfinite(values["loss"][0]))
            step_unless(bad, optimizer=self.optimizer, step=self.prepared.step)
        else:
            self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        self.meter.add(number + 1, step.tokens, {**values, "grad_norm": (norm, torch.ones_like(norm))})

    def _log(self) -> dict[str, Any]:
        rows, speed = self.meter.read()
        if not rows:
            return {}
        # With a loss scale (fp16), a gradient that overflows is part of finding the scale.
        vital = ("loss", "grad_norm") if self.accelerator.scaler is None else ("loss",)
        for number, values in rows:
            if not all(math.isfinite(values[name][0]) for name in vital):
                self._refuse_non_finite(number, values)
            if self.state.first_loss is None:
                self.state.first_loss = ratios([values])["loss"]
        number = rows[-1][0]
        mean = ratios([values for _, values in rows])
        self.state.last_loss = mean["loss"]
        row = {
            "kind": "train",
            "step": number,
            "epoch": round(self.state.epoch, 4),
            **mean,
            "learning_rate": learning_rate(self.optimizer_config, number - 1, len(self.batches.steps)),
            "tokens": self.state.tokens,
            "trained_tokens": self.state.trained_tokens,
            "tokens_per_second": round(speed, 1),
            "memory_bytes": peak_memory_bytes(self.accelerator.device),
            "seconds": round(self.state.seconds, 3),
        }
        self.write(row)
        return {name: row[name] for name in SHOWN if name in row}

    def write(self, row: dict[str, Any]) -> None:
        """A row of ``metrics.jsonl``, from the first process only."""
        if self.metrics:
            self.metrics.write(row)

    def _refuse_non_finite(self, number: int, values: Values) -> None:
        step = self.batches.steps[number - 1]
        indices = np.concatenate([batch for part in step.micro_batches for batch in part])
        raise TrainingError(
            f"step {number}: the loss is {ratios([values])['loss']} (gradient norm {values['grad_norm'][0]:.3g}) on "
            f"{self.batches.source(indices)}; look at them, or lower the learning rate; the checkpoints before this "
            f"step are kept and the run resumes from them"
        )

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.wrapped.eval()
        with self._saved_on_failure():
            measured = {name: measure(self) for name, measure in self.watched.items()}
        for name, means in measured.items():
            self.write({"kind": "eval", "step": self.state.step, "split": name, **means})
        first = next(iter(measured.values()))
        self.state.evaluated = processes.by_first(lambda: first[self.schedule.watch])
        self.state.evaluated_step = self.state.step
        self._note_best(self.state.evaluated)

    def mean_over(self, batches: Batches) -> dict[str, float]:
        """Loss and metrics over a whole set, weighted by trained token (or pair): the same for every batch size."""
        total: dict[str, list[float]] = {}
        for number in range(len(batches.steps)):
            step = batches.steps[number]
            sums = Sums(batches.objective.weight(step))
            batches.before(self.wrapped, step)
            for indices, share in turns(step, self.accelerator):
                packed = batches.pack(indices).to(self.accelerator.device)
                with self.accelerator.autocast():
                    sums.add(*batches.objective.loss(self.wrapped, packed, indices), share)
            for name, (value, weight) in sums.over_processes(self.accelerator).items():
                entry = total.setdefault(name, [0.0, 0.0])
                entry[0], entry[1] = entry[0] + value.item(), entry[1] + weight.item()
        return batches.describe(ratios([{name: (value, weight) for name, (value, weight) in total.items()}]))

    def _note_best(self, value: float) -> None:
        best = self.state.best
        if best is None or (value > best if self.schedule.highest else value < best):
            self.state.best, self.state.best_step = value, self.state.step
            self.state.evaluations_since_best = 0
            if self.schedule.keep_best:
                weights = self._weights()
                if self.accelerator.is_main_process:
                    checkpoint.save_best(self.scratch / "best", weights, self.state.step)
            return
        self.state.evaluations_since_best += 1
        patience = self.schedule.early_stop
        self.state.stopped_early = bool(patience and self.state.evaluations_since_best >= patience)

    def _save(self) -> None:
        self.saved_step = self.state.step
        weights = self._weights()
        scaler = self.accelerator.scaler
        optimizer = {
            "optimizer": sharding.whole_state(self.optimizer),
            "scaler": scaler.state_dict() if scaler else {},
        }
        if self.accelerator.is_main_process:
            content = checkpoint.Checkpoint(weights, optimizer, asdict(self.state))
            checkpoint.save(self.scratch / "checkpoints", content)
        processes.wait()

    def _resume(self) -> None:
        folder, complaints = processes.by_first(lambda: checkpoint.newest(self.scratch / "checkpoints"))
        for complaint in complaints:
            self.say(complaint)
        if folder is None:
            if complaints:
                self.say("no checkpoint is whole; training starts again")
            return
        found = checkpoint.load(folder)
        checkpoint.load_weights(self.model, found.weights)
        sharding.load_whole_state(self.optimizer, found.optimizer["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(found.optimizer["scaler"])
        self.state = State(**found.state)
        self.say(f"resuming at step {self.state.step} of {len(self.batches.steps)}")

    def _load_best(self) -> None:
        weights, step = checkpoint.load_best(self.scratch / "best")
        checkpoint.load_weights(self.model, weights)
        self.say(f"ending with the weights of step {step}, the best evaluation")

    def _weights(self) -> dict[str, torch.Tensor]:
        return checkpoint.trainable_weights(self.model, keep=self.accelerator.is_main_process)
