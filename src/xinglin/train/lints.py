"""Settings that are legal and still not meant: said before a run, in time to change them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xinglin.config.conversation import chat_sign
from xinglin.config.mixing import MixingConfig
from xinglin.config.parts import Freeze, Lora, Optimizer, TrainingConfig
from xinglin.config.tiny import is_tiny
from xinglin.data.shards import Shards
from xinglin.errors import TrainingError
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun
from xinglin.train.forecast import DEFAULT_BATCH
from xinglin.train.mixing import expected_readings, facts_together
from xinglin.train.schedule import warmup_steps

LONG_WARMUP = 0.25
"""Of all steps."""
_SUPERVISED, _PREFERENCES = ("pretrain", "sft", "reward"), ("dpo", "ppo", "grpo", "rloo")
_RATES = {
    ("lora", _SUPERVISED): (1e-5, 1e-3),
    ("lora", _PREFERENCES): (5e-7, 2e-4),
    ("full", _SUPERVISED): (1e-6, 1e-4),
    ("full", _PREFERENCES): (1e-7, 1e-5),
    ("freeze", _SUPERVISED): (1e-6, 5e-4),
    ("freeze", _PREFERENCES): (1e-7, 5e-5),
}
"""What the papers and examples of each kind use, rounded outwards."""
_PRETRAINING = 3
"""Full pretraining takes rates up to this much higher."""


REPEATS = 4
"""Epochs of the same text that are worth almost as much as new text (arXiv 2305.16264)."""
CHAT_RATES = {"full": 2e-5, "freeze": 2e-5, "lora": 2e-4}
"""Above these, pretraining on top of a chat model has collapsed it even with replay."""
ENOUGH_REPLAY = 0.5


class Finding(NamedTuple):
    key: str
    message: str
    fatal: bool = False
    """The run would not do what it is for."""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


@dataclass(frozen=True)
class Facts:
    """What is known about a run; None where it is not known yet."""

    steps: int | None = None
    """Optimizer steps that it will take."""
    rows: int | None = None
    """Records of the training split."""
    small: bool = False
    """The model is a toy, for which other learning rates are usual."""
    chat: bool = False
    """It starts as a chat model."""


def lint(config: TrainingConfig, facts: Facts) -> list[Finding]:
    """Everything odd about a run, fatal or not."""
    return [
        *_learning_rate(config, facts),
        *_forgetting(config, facts),
        *_adaptation(config),
        *_unread(config.optimizer),
        *(_lengths(config, facts.steps) if facts.steps else ()),
        *(_evaluations(config, facts.steps) if facts.steps and config.eval_split else ()),
        *(_rows(config, facts.rows) if facts.rows else ()),
    ]


def heed(findings: list[Finding]) -> None:
    """Print what was found.

    Raises:
        TrainingError: the first fatal one.
    """
    for finding in findings:
        if finding.fatal:
            raise TrainingError(str(finding))
        print(f"warning: {finding}")


def _learning_rate(config: TrainingConfig, facts: Facts) -> Iterator[Finding]:
    rate = config.optimizer.learning_rate
    usual = next(
        (
            rates
            for (tuning, kinds), rates in _RATES.items()
            if tuning == config.tuning and config.kind in kinds
        ),
        None,
    )
    if usual is None or facts.small:
        return
    low, high = usual
    if config.kind == "pretrain" and config.tuning == "full":
        high *= _PRETRAINING
    if not low <= rate <= high:
        yield Finding(
            "optimizer.learning_rate",
            f"{rate:g} is outside of what {config.kind} with tuning {config.tuning} usually takes, {low:g} to {high:g}",
        )


def _forgetting(config: TrainingConfig, facts: Facts) -> Iterator[Finding]:
    if config.kind != "pretrain" or not facts.chat or facts.small:
        return
    rate, most = config.optimizer.learning_rate, CHAT_RATES[config.tuning]
    if rate > most:
        yield Finding(
            "optimizer.learning_rate",
            f"{rate:g} is high for pretraining a chat model; with tuning {config.tuning}, {most:g} or less keeps what "
            "it can do",
        )
    if isinstance(config, MixingConfig) and config.priority is None and config.mix:
        replayed = 1 - config.own_share
        if replayed < ENOUGH_REPLAY:
            yield Finding(
                "mix", f"{replayed:.0%} of the tokens are replay; for a chat model, half or more is usual"
            )


def lint_readings(epochs: Mapping[str, float]) -> list[Finding]:
    """Whether a split that is mixed in, {split: epochs}, is read too often to learn more from it."""
    return [
        Finding(
            "mix",
            f"{split} will be read {times:.3g} times; give it more rows, a smaller share, or max_epochs",
        )
        for split, times in epochs.items()
        if times > REPEATS
    ]


def _adaptation(config: TrainingConfig) -> Iterator[Finding]:
    lora = config.lora
    if config.tuning == "lora":
        scale = lora.alpha / (math.sqrt(lora.rank) if lora.rslora else lora.rank)
        if not 0.25 <= scale <= 8:
            root = "sqrt(rank)" if lora.rslora else "rank"
            yield Finding(
                "lora.alpha",
                f"alpha / {root} is {scale:.3g}; 1 to 2 is usual, and it acts like a learning rate",
            )
    elif lora != Lora():
        yield Finding("lora", f"has no effect with tuning {config.tuning}")
    if config.tuning != "lora" and config.optimizer.lora_plus_ratio != 1:
        yield Finding("optimizer.lora_plus_ratio", f"has no effect with tuning {config.tuning}")
    if config.tuning != "freeze" and config.freeze != Freeze():
        yield Finding("freeze", f"has no effect with tuning {config.tuning}")


def _unread(config: Optimizer) -> Iterator[Finding]:
    schedule, name = f"schedule {config.schedule}", f"name {config.name}"
    for key, read, setting in (
        ("decay_share", config.schedule == "wsd", schedule),
        ("final_ratio", config.schedule != "constant", schedule),
        ("betas", config.name != "adafactor", name),
        ("epsilon", config.name != "adafactor", name),
    ):
        if not read and getattr(config, key) != getattr(Optimizer(), key):
            yield Finding(f"optimizer.{key}", f"has no effect with {setting}")


def _lengths(config: TrainingConfig, steps: int) -> Iterator[Finding]:
    optimizer = config.optimizer
    warm = warmup_steps(optimizer, steps)
    if warm >= steps and warm > 1:
        yield Finding(
            "optimizer.warmup",
            f"{warm} steps of warm-up, and the run has {steps}: the learning rate never gets to its peak; lower it",
            fatal=True,
        )
    elif warm > LONG_WARMUP * steps:
        yield Finding("optimizer.warmup", f"{warm} of all {steps} steps are warm-up; 3 to 10 % is usual")
    elif optimizer.schedule == "wsd" and warm + optimizer.decay_share * steps > steps:
        yield Finding("optimizer.decay_share", "with the warm-up it is more than the whole run")
    if config.max_steps and config.max_steps > steps:
        yield Finding(
            "max_steps", f"{config.max_steps} are never taken: epochs {config.epochs:g} end after {steps}"
        )
    if config.save_every_steps > steps >= 200:
        yield Finding(
            "save_every_steps",
            f"{config.save_every_steps} is more than the {steps} steps: a crash loses all of them",
        )


def _evaluations(config: TrainingConfig, steps: int) -> Iterator[Finding]:
    every = config.eval_every_steps
    if every and every > steps:
        yield Finding(
            "eval_every_steps", f"{every} is more than the {steps} steps: the only evaluation is at the end"
        )
    count = math.ceil(steps / every) if every else 10
    if config.keep_best and count == 1:
        yield Finding("keep_best", "there is only one evaluation, at the end; lower eval_every_steps")
    if config.early_stop and config.early_stop >= count:
        yield Finding(
            "early_stop",
            f"{config.early_stop} evaluations without progress cannot happen, there are {count} in all",
        )


def _rows(config: TrainingConfig, rows: int) -> Iterator[Finding]:
    counted = config.kind in (*_SUPERVISED, "dpo")  # in reinforcement learning, batches are of answers
    if counted and config.batch_size and rows < config.batch_size:
        yield Finding(
            "batch_size", f"{config.batch_size} is more than the {rows} rows: every step takes all of them"
        )


def repeated_rows(training: Shards, held: Shards) -> int:
    """How many sequences of ``held`` are also in ``training``, token by token."""
    keys = [hash(held[index].ids.tobytes()) for index in range(len(held))]
    alike = np.flatnonzero(np.isin(training.lengths, held.lengths)).tolist()
    seen = {hash(training[index].ids.tobytes()) for index in alike}
    return sum(key in seen for key in keys)


def lint_splits(config: TrainingConfig, training: Shards, held: Shards, *, split: str) -> list[Finding]:
    """Whether the model is measured on what it was trained on."""
    same = repeated_rows(training, held)
    if not same:
        return []
    where = f"of '{split}' are in '{config.split}' too"
    return [Finding("eval_split", f"{same} of the {len(held)} sequences {where}: the loss there is too low")]


def foresee(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Lines for the plan of a run, from what is known before it starts."""
    data = run.inputs.get(config.data or "")
    splits = data.details["splits"] if isinstance(data, Artifact) else {}
    epochs = expected_readings(config, splits)
    split = splits.get(config.split, {})
    chat = is_chat(run.inputs.get(config.model or "base"))
    steps = _expected_steps(config, facts_together(config, splits))
    if steps and config.max_steps and config.max_steps < steps:
        epochs = {name: times * config.max_steps / steps for name, times in epochs.items()}
        steps = config.max_steps
    facts = Facts(steps, split.get("records"), is_tiny(run.base), chat)
    found = [*lint(config, facts), *lint_readings(_mixed_in(config, epochs))]
    lines = {"mix": ", ".join(f"{name} {times:.3g}x" for name, times in epochs.items())}
    lines["warning" if len(found) == 1 else "warnings"] = "; ".join(map(str, found))
    return {label: text for label, text in lines.items() if text}


def is_chat(start: Artifact | str | None) -> bool:
    """Whether a stage starts from a chat model, as far as that is known."""
    model = str(start.folder) if isinstance(start, Artifact) else start
    return model is not None and chat_sign(model) is not None


def _mixed_in(config: TrainingConfig, epochs: Mapping[str, float]) -> dict[str, float]:
    return {split: times for split, times in epochs.items() if split != config.split}


def _expected_steps(config: TrainingConfig, split: Mapping[str, Any]) -> int | None:
    if config.kind not in (*_SUPERVISED, "dpo") or not split.get("tokens"):
        return None
    per_epoch = (
        split["tokens"] / config.batch_tokens
        if config.batch_tokens
        else split["records"] / (config.batch_size or DEFAULT_BATCH)
    )
    return math.ceil(math.ceil(per_epoch) * config.epochs)
