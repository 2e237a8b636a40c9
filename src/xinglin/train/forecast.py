"""What a training stage will take, said before it starts, and what to change if it does not fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from transformers import AutoConfig

from xinglin.config.parts import TrainingConfig
from xinglin.config.rl import RolloutConfig
from xinglin.config.tiny import is_tiny
from xinglin.errors import ModelError, TrainingError
from xinglin.models.adapter import is_adapter, read_base, stack
from xinglin.models.kernels import fusible
from xinglin.models.tiny import tiny_config
from xinglin.models.tokenizer import load_tokenizer
from xinglin.rewards.model import Config as ModelReward
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun
from xinglin.runtime.units import bytes_text, seconds_text
from xinglin.train.duration import forecast_seconds
from xinglin.train.memory import Forecast, Shape, Work, flops, forecast
from xinglin.train.mixing import facts_together
from xinglin.train.rl.duration import rollout_seconds

DEFAULT_BATCH = 32
COMFORT = 0.9
"""Share of the free memory up to which ``gradient_checkpointing: auto`` stays off."""


class Judge(NamedTuple):
    """A reward model that a stage asks."""

    shape: Shape
    shares: bool
    """It is one more adapter on the policy's base."""


@dataclass(frozen=True)
class Outlook:
    """A stage on this machine."""

    work: Work
    memory: Forecast
    room: int
    """Bytes that are free."""
    cure: str | None
    """The cheapest change of the settings with which it would fit; None: it fits."""
    seconds: dict[str, float]
    """Of each part of the work; none if the data are not tokenised yet."""
    occupied: int
    """Bytes that this process has taken already."""

    @property
    def peak(self) -> int:
        """What the process is expected to have taken at its highest."""
        return self.occupied + self.memory.total

    def __str__(self) -> str:
        verdict = f"; more than the {bytes_text(self.room)} that are free: {self.cure}" if self.cure else ""
        return f"{self.memory}{verdict}"


def available_bytes() -> int:
    """Memory that is free now: of the GPU when there is one, else of the machine."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available


def occupied_bytes() -> int:
    """Memory that this process has: on the GPU when there is one."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def outlook(
    config: TrainingConfig,
    shape: Shape,
    facts: Mapping[str, Any],
    *,
    judges: Sequence[Judge] = (),
    processes: int = 1,
) -> Outlook:
    """Forecast a stage.

    Args:
        facts: what the data set's artifact says about the split that is trained on.
        judges: the reward models that it asks.
    """
    work = replace(
        _work(config, facts),
        processes=processes if config.sharding == "full" else 1,
        beside=sum(judge.shape.parameters for judge in judges if not judge.shares),
    )
    room = available_bytes()
    roomy = replace(work, checkpointing=config.gradient_checkpointing == "on")
    if config.gradient_checkpointing == "auto" and forecast(shape, roomy).total > COMFORT * room:
        roomy = replace(roomy, checkpointing=True)
    memory = forecast(shape, roomy)
    cure = None if memory.total <= room else _cure(config, shape, roomy, facts, room)
    if isinstance(config, RolloutConfig):
        seconds = (
            rollout_seconds(config, shape, roomy, facts, [judge.shape for judge in judges]) if facts else {}
        )
    else:
        seconds = _seconds(config, shape, roomy, facts)
    seconds = {part: each / processes for part, each in seconds.items()}
    return Outlook(roomy, memory, room, cure, seconds, occupied_bytes())


def settle(config: TrainingConfig, run: StageRun, *, processes: int = 1) -> Outlook:
    """The outlook of a stage that is about to load its model; says so when it has to save memory.

    Raises:
        TrainingError: it cannot fit, with the cheapest change of the settings that makes it fit.
    """
    shape = shape_of(config, run)
    if shape is None:
        shape = _saved_shape(stack(run.model(config.model or "base"))[0].removeprefix("hub:"), config)
    facts = _facts(config, run.inputs.get(config.data or ""))
    found = outlook(config, shape, facts, judges=judges_of(config, run, shape), processes=processes)
    if found.cure:
        raise TrainingError(
            f"stage '{run.name}' needs {bytes_text(found.memory.total)}, most of it {found.memory.largest}, and "
            f"{bytes_text(found.room)} are free: {found.cure}"
        )
    if found.work.checkpointing and config.gradient_checkpointing == "auto":
        needed = forecast(shape, replace(found.work, checkpointing=False)).total
        print(
            f"gradient checkpointing is on: {bytes_text(needed)} needed without, {bytes_text(found.room)} free"
        )
    return found


def describe(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Lines for the plan of a run; what is not known yet is left out."""
    data = run.inputs.get(config.data or "")
    facts = _facts(config, data)
    shape = shape_of(config, run)
    lines = {}
    if facts:
        tokens = facts["tokens"]
        lines["tokens"] = f"{tokens:,} x {config.epochs:g} epochs" if tokens else "not tokenised yet"
    if shape is not None:
        found = outlook(config, shape, facts, judges=judges_of(config, run, shape))
        lines["memory"] = str(found)
        if found.seconds:
            lines["time"] = _time_text(found.seconds)
    return lines


def _time_text(seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    if len(seconds) == 1:
        return f"about {seconds_text(total)} of training"
    shares = ", ".join(f"{each / total:.0%} {part}" for part, each in seconds.items())
    return f"at most about {seconds_text(total)}, if no answer ends by itself: {shares}"


def _facts(config: TrainingConfig, data: Artifact | str | None) -> Mapping[str, Any]:
    if not isinstance(data, Artifact):
        return {}
    return facts_together(config, data.details["splits"])


def shape_of(config: TrainingConfig, run: StageRun) -> Shape | None:
    """Sizes of the model that the stage starts from; None for one that is not on this machine yet."""
    start = run.inputs.get(config.model or "base", run.base)
    return _shape_at(start, config, run)


def _shape_at(start: Artifact | str, config: TrainingConfig, run: StageRun) -> Shape | None:
    spec = str(start.folder) if isinstance(start, Artifact) else start
    if is_adapter(spec):
        spec = stack(spec)[0]
    if is_tiny(spec):
        data = run.inputs.get(config.data or "")
        if not isinstance(data, Artifact):
            return None
        return Shape.of(tiny_config(spec, tokenizer=load_tokenizer(str(data.folder / "tokenizer"))))
    return _saved_shape(spec, config) if (Path(spec) / "config.json").is_file() else None


def judges_of(config: TrainingConfig, run: StageRun, shape: Shape) -> list[Judge]:
    """The reward models that a stage asks; one that is not trained yet is taken to have the policy's ``shape``."""
    found = []
    for reward in getattr(config, "rewards", ()):
        if isinstance(reward, ModelReward):
            given = run.inputs.get(str(reward.model))
            own = shape if given is None else _shape_at(given, config, run)
            found.append(Judge(own or shape, config.tuning == "lora" and _shares_base(given, config, run)))
    return found


def _shares_base(judge: Artifact | str | None, config: TrainingConfig, run: StageRun) -> bool:
    """Whether a reward model is an adapter on what the policy's adapter is on; so are those not trained yet."""
    start = run.inputs.get(config.model or "base")
    if judge is None or start is None:
        return True
    folder, policy = (str(given.folder) if isinstance(given, Artifact) else given for given in (judge, start))
    if not is_adapter(folder):
        return False
    below = stack(policy)[-2] if config.continue_ == "same" and is_adapter(policy) else policy
    return Path(read_base(Path(folder)).resolve(Path(folder))).resolve() == Path(below).resolve()


def _saved_shape(spec: str, config: TrainingConfig) -> Shape:
    """Sizes of a model in a folder or on the hub, from its ``config.json``.

    Raises:
        ModelError: they are not those of a decoder.
    """
    try:
        return Shape.of(AutoConfig.from_pretrained(spec, trust_remote_code=config.trust_remote_code))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{spec}: its config.json is of no decoder that can be trained here ({error})"
        ) from error


def _work(config: TrainingConfig, facts: Mapping[str, Any]) -> Work:
    half = config.precision in ("bf16", "fp16") or (config.precision == "auto" and torch.cuda.is_available())
    work = Work(
        tokens=_tokens_per_pass(config, facts),
        tuning=config.tuning,
        lora_rank=config.lora.rank,
        trainable_layers=config.freeze.trainable_layers,
        optimizer=config.optimizer.name,
        quantization=config.quantization,
        weight_bytes=2 if half and torch.cuda.is_available() else 4,
        activation_bytes=2 if half else 4,
        fused=config.kernels == "auto" and fusible(),
        logits=config.kind != "reward",
        embeddings=config.lora.train_embeddings == "all",
    )
    return _with_rollout(work, config) if isinstance(config, RolloutConfig) else work


def _with_rollout(work: Work, config: RolloutConfig) -> Work:
    """What reinforcement learning has in memory beside the policy."""
    answers = config.rollout_prompts * config.answers_per_prompt
    reference, vllm = config.tuning != "lora", config.engine == "vllm"
    most = config.generation_tokens
    return replace(
        work,
        adapters=2 if getattr(config, "value", None) == "adapter" else 1,
        copies=reference + vllm,
        generated_tokens=most if vllm else min(most, answers * config.max_tokens),
    )


def _tokens_per_pass(config: TrainingConfig, facts: Mapping[str, Any]) -> int:
    """The budget of a micro-batch, unless a whole step or a single sequence decides."""
    if not facts.get("tokens") or isinstance(config, RolloutConfig):  # nobody knows how long answers will be
        return config.micro_batch_tokens if config.packing else config.max_tokens
    longest = min(facts["lengths"]["max"], config.max_tokens)
    if not config.packing:
        return longest
    step = config.batch_tokens or (config.batch_size or DEFAULT_BATCH) * facts["tokens"] / facts["records"]
    return max(longest, min(config.micro_batch_tokens, int(1.25 * step)))


def _seconds(config: TrainingConfig, shape: Shape, work: Work, facts: Mapping[str, Any]) -> dict[str, float]:
    if not facts.get("tokens"):
        return {}
    tokens = facts["tokens"] * config.epochs
    if config.max_steps:
        per_step = config.batch_tokens or (
            (config.batch_size or DEFAULT_BATCH) * facts["tokens"] / facts["records"]
        )
        tokens = min(tokens, config.max_steps * per_step)
    share = facts["trained_tokens"] / facts["tokens"]
    each = flops(shape, work, mean_length=facts["lengths"]["p90"] / 2, trained_share=share)
    dtype = torch.bfloat16 if work.activation_bytes == 2 else torch.float32
    return {"training": forecast_seconds(tokens * each, dtype)}


def _cure(config: TrainingConfig, shape: Shape, work: Work, facts: Mapping[str, Any], room: int) -> str:
    """The first of the changes, from cheap to dear and then all up to it, with which the stage fits."""
    changes = list(_changes(config, work, facts))
    for words, change in changes:
        if forecast(shape, replace(work, **change)).total <= room:
            return f"set {words}"
    said, so_far = [], work
    for words, change in changes:
        said.append(words)
        so_far = replace(so_far, **change)
        if forecast(shape, so_far).total <= room:
            return f"set {', '.join(said)}"
    least = forecast(shape, so_far)
    return (
        f"even with {', '.join(said)} it takes {bytes_text(least.total)}; take a smaller model or more memory"
    )


def _changes(
    config: TrainingConfig, work: Work, facts: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not work.checkpointing:
        yield "gradient_checkpointing: on", {"checkpointing": True}
    longest = min(facts["lengths"]["max"], config.max_tokens) if facts.get("lengths") else config.max_tokens
    if work.tokens > longest:
        yield f"micro_batch_tokens: {longest}", {"tokens": longest}
    cuda = torch.cuda.is_available()
    if work.tuning != "lora":
        if cuda and work.optimizer == "adamw":
            yield "optimizer.name: adamw_8bit", {"optimizer": "adamw_8bit"}
        yield "tuning: lora", {"tuning": "lora"}
    if cuda and work.quantization == "none":
        yield "quantization: 4bit", {"tuning": "lora", "quantization": "4bit"}
