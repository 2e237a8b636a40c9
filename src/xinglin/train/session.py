"""What the training stages share: from a config to a loop, and from a finished loop to an artifact."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from xinglin.config.parts import TrainingConfig
from xinglin.data.packing import Plan
from xinglin.data.records import Conversation, Preference, Question
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards
from xinglin.data.splits import open_shards, read_split, require_trained, split_file
from xinglin.errors import DataError, ModelError, TrainingError
from xinglin.models.adapt import add_lora, count_parameters, freeze_all_but_last, train_all
from xinglin.models.adapter import write_base
from xinglin.models.attention import check_isolation, packed_attention
from xinglin.models.load import load_model
from xinglin.models.packed import PackedModel
from xinglin.report.plots import loss_plot
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.runtime.units import bytes_text
from xinglin.train.loop import Loop, Schedule, State
from xinglin.train.memory import Shape, forecast
from xinglin.train.meter import peak_memory_bytes
from xinglin.train.objectives import ObjectiveProtocol

DEFAULT_BATCH = 32
EVALUATIONS = 10


@dataclass
class Session:
    """One training stage at work."""

    config: TrainingConfig
    run: StageRun
    accelerator: Accelerator
    base: str
    """Folder or id of the model that training starts from."""
    base_dtype: torch.dtype
    core: PreTrainedModel
    adapted: nn.Module
    tokenizer: PreTrainedTokenizerFast
    renderer: Renderer
    model: PackedModel
    forecast_bytes: int

    def shards(self, split: str) -> Shards:
        """The token shards of a split of the stage's data set."""
        artifact = self.run.artifact(self.config.data or "")
        path = split_file(artifact, split)
        shards = open_shards(
            path,
            self.renderer,
            max_tokens=self.config.max_tokens,
            policy=self.config.over_length,
            places=[artifact.folder / "shards", self.run.cache / "shards"],
            records=artifact.details["splits"][split]["records"],
        )
        require_trained(shards, path)
        window = getattr(self.core.config, "max_position_embeddings", None)
        longest = shards.meta["lengths"]["max"]
        if window and longest > window:
            raise TrainingError(
                f"split '{split}': {longest} tokens in a sequence, the model's window is {window}; "
                f"set max_tokens to {window} or less"
            )
        return shards

    def plan(self, shards: Shards, *, training: bool) -> Plan:
        """The steps over ``shards``: the stage's own for training, one pass in order for evaluation."""
        config = self.config
        return Plan(
            shards.lengths,
            shards.counts,
            group=shards.group,
            micro_batch_tokens=config.micro_batch_tokens if config.packing else 1,
            batch_size=None if config.batch_tokens else (config.batch_size or DEFAULT_BATCH),
            batch_tokens=config.batch_tokens,
            epochs=config.epochs if training else 1,
            max_steps=config.max_steps if training else None,
            seed=self.run.seed,
            processes=self.accelerator.num_processes,
            shuffle=training,
        )


def open_session(config: TrainingConfig, run: StageRun) -> Session:
    """Load and adapt the model.

    Raises:
        TrainingError: the precision is not to be had on this device.
        ModelError: the model cannot be loaded, adapted or packed.
        DataError: the split is held out for evaluation.
    """
    data = run.artifact(config.data or "")
    split_file(data, config.split)
    if data.details["splits"][config.split].get("held_out"):
        raise DataError(f"split '{config.split}' is held out for evaluation; train on another one")
    set_seed(run.seed)
    accelerator = Accelerator(
        mixed_precision=_mixed_precision(config.precision), cpu=not torch.cuda.is_available()
    )
    base = run.model(config.model or "base")
    core, tokenizer = load_model(
        base,
        tokenizer_folder=data.folder / "tokenizer",
        seed=run.seed,
        dtype=_frozen_dtype(config, accelerator),
        trust_remote_code=config.trust_remote_code,
    )
    base_dtype = core.dtype
    core.config.use_cache = False
    if config.packing:
        check_isolation(core)
    renderer = Renderer(tokenizer, template=config.template or data.config.get("template"))
    needed = _apply_checkpointing(config, core, accelerator)
    adapted = _adapt(config, core, run.seed)
    return Session(
        config,
        run,
        accelerator,
        base,
        base_dtype,
        core,
        adapted,
        tokenizer,
        renderer,
        PackedModel(adapted),
        needed,
    )


def _mixed_precision(precision: str) -> str:
    if precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("precision fp16 needs a CUDA device; use bf16, fp32 or auto")
    if precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return {"fp32": "no"}.get(precision, precision)


def _frozen_dtype(config: TrainingConfig, accelerator: Accelerator) -> torch.dtype | None:
    """Weights that are not trained are kept in the arithmetic's type on CUDA; None: in the checkpoint's own."""
    if config.tuning == "full" or not torch.cuda.is_available():
        return None
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    return kinds[str(accelerator.mixed_precision)]


def _adapt(config: TrainingConfig, core: PreTrainedModel, seed: int) -> nn.Module:
    if config.tuning == "lora":
        return add_lora(core, config.lora, seed=seed)
    return train_all(core) if config.tuning == "full" else freeze_all_but_last(core, config.freeze)


def available_bytes() -> int:
    """Memory that is free now: of the GPU when there is one, else of the machine."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available


def _apply_checkpointing(config: TrainingConfig, core: PreTrainedModel, accelerator: Accelerator) -> int:
    """Turn on gradient checkpointing if asked for, or if the forecast does not fit; returns the forecast in bytes."""

    def bytes_needed(checkpointing: bool) -> int:
        return forecast(
            Shape.of(core.config),
            tokens=config.micro_batch_tokens,
            tuning=config.tuning,
            lora_rank=config.lora.rank,
            trainable_layers=config.freeze.trainable_layers,
            weight_bytes=core.dtype.itemsize,
            activation_bytes=4 if accelerator.mixed_precision == "no" else 2,
            checkpointing=checkpointing,
        ).total

    room = available_bytes()
    on = config.gradient_checkpointing == "on" or (
        config.gradient_checkpointing == "auto" and bytes_needed(False) > 0.9 * room
    )
    if on:
        core.activation_checkpointing_enable()
        print(
            f"gradient checkpointing is on: {bytes_text(bytes_needed(False))} needed without, {bytes_text(room)} free"
        )
    return bytes_needed(on)


def train(
    session: Session,
    objective_for: Callable[[Session, Shards, str], ObjectiveProtocol],
) -> Outcome:
    """Run the loop and leave weights, metrics and plot in ``run.out``.

    ``objective_for(session, shards, split)`` builds the objective for the shards of a split.
    """
    config, run = session.config, session.run
    with packed_attention(session.core) if config.packing else nullcontext():
        shards = session.shards(config.split)
        plan = session.plan(shards, training=True)
        eval_sets = {}
        if config.eval_split:
            held = session.shards(config.eval_split)
            watched = _checked(objective_for(session, held, config.eval_split), held, config.eval_split)
            eval_sets[config.eval_split] = (held, session.plan(held, training=False), watched)
        every = config.eval_every_steps or max(1, math.ceil(len(plan) / EVALUATIONS))
        loop = Loop(
            model=session.model,
            objective=_checked(objective_for(session, shards, config.split), shards, config.split),
            shards=shards,
            plan=plan,
            optimizer_config=config.optimizer,
            schedule=Schedule(
                config.log_every_steps,
                config.save_every_steps,
                every if eval_sets else None,
                config.keep_best,
                config.early_stop,
            ),
            accelerator=session.accelerator,
            out=run.out,
            scratch=run.scratch,
            seed=run.seed,
            eval_sets=eval_sets,
            stop_requested=run.stop_requested,
        )
        state = loop.fit()
    if session.accelerator.is_main_process:
        save_model(session)
        loss_plot(run.out / "metrics.jsonl", run.out / "loss.png")
    return _outcome(session, loop, state)


def _checked(objective: ObjectiveProtocol, shards: Shards, split: str) -> ObjectiveProtocol:
    if objective.group != shards.group:
        raise TrainingError(
            f"split '{split}' holds preferences, and this stage would learn the rejected answers too; "
            "name a split of documents or conversations"
        )
    return objective


def save_model(session: Session) -> None:
    """The weights in Hugging Face form: an adapter that names its base, or a full model in its own precision."""
    session.core.config.use_cache = True
    out: Path = session.run.out
    session.tokenizer.chat_template = session.renderer.template_text
    session.tokenizer.save_pretrained(out)
    adapted: Any = session.adapted
    if session.config.tuning == "lora":
        adapted.peft_config["default"].base_model_name_or_path = session.base.removeprefix("hub:")
        adapted.save_pretrained(out, save_embedding_layers=False)  # never resized; "auto" asks the hub
        write_base(out, session.base, seed=session.run.seed, final_folder=session.run.final)
    else:
        session.core.to(session.base_dtype).save_pretrained(out)  # type: ignore[arg-type]


def _outcome(session: Session, loop: Loop, state: State) -> Outcome:
    total, trainable = count_parameters(session.adapted)
    speed = state.tokens / state.seconds if state.seconds else 0.0
    details = {
        "steps": state.step,
        "epochs": round(loop.plan[state.step - 1].epoch, 3) if state.step else 0.0,
        "tokens": state.tokens,
        "trained_tokens": state.trained_tokens,
        "seconds": round(state.seconds, 1),
        "tokens_per_second": round(speed, 1),
        "peak_memory_bytes": peak_memory_bytes(session.accelerator.device),
        "forecast_memory_bytes": session.forecast_bytes,
        "parameters": total,
        "trainable_parameters": trainable,
        "first_loss": state.first_loss,
        "final_loss": state.last_loss,
        "best_step": state.best_step or None,
        "best_eval_loss": state.best_loss if math.isfinite(state.best_loss) else None,
        "stopped_early": state.stopped_early,
    }
    metrics = {"train.loss": interval(state.last_loss)} if state.last_loss is not None else {}
    if math.isfinite(state.best_loss):
        metrics["eval.loss"] = interval(state.best_loss)
    kind = "adapter" if session.config.tuning == "lora" else "model"
    return Outcome(kind, metrics, {"train": details, "example": example(session)})


def example(session: Session) -> list[list[Any]]:
    """The first record of the training split as the model sees it: [text, trained] pieces."""
    path = split_file(session.run.artifact(session.config.data or ""), session.config.split)
    record = next(read_split(path), None)
    if record is None:
        raise ModelError(f"{path}: empty")
    renderer = session.renderer
    if isinstance(record, Conversation):
        segments = renderer.conversation(record.messages)
    elif isinstance(record, Preference):
        segments = renderer.preference(record.prompt, record.chosen)
    else:
        assert not isinstance(record, Question)  # their shards could not have been made
        segments = renderer.document(record.text)
    return renderer.visible(renderer.encode([segments])[0])
