"""From a config and a method to an artifact: prompts, policy, rollouts, loop."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xinglin.config.rl import RolloutConfig
from xinglin.data.encoding import Encoded
from xinglin.data.records import Kind
from xinglin.data.splits import read_split, split_file
from xinglin.errors import DataError, ModelError, TrainingError
from xinglin.evaluate.statistics import sign_flip
from xinglin.models.decoding import Sampling, Seed
from xinglin.models.reward import share_or_load
from xinglin.report.plots import rollout_plot
from xinglin.rewards import Context, RewardConfig, Scoring
from xinglin.rewards.model import Config as ModelReward
from xinglin.runtime import atomic
from xinglin.runtime.artifact import interval
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.train import processes
from xinglin.train.batches import Batches
from xinglin.train.fit import build_loop, finish
from xinglin.train.loop import Loop
from xinglin.train.meter import read_rows
from xinglin.train.rl.actor import Actor, Reference
from xinglin.train.rl.methods import Method
from xinglin.train.rl.objective import Objective
from xinglin.train.rl.policy import Policy
from xinglin.train.rl.prompts import Asked, Prompts, read_prompts
from xinglin.train.rl.rollout import Rollout, rounded
from xinglin.train.rl.sampler import OwnSampler, Sampler, VllmSampler
from xinglin.train.rl.steps import Layout, RolloutSteps
from xinglin.train.session import Session, open_session
from xinglin.train.state import State

BEFORE_FILE, SAMPLES_FILE = "samples_before.jsonl", "samples.jsonl"
"""The answers to the held-out prompts before the first step, and of the weights that the stage ends with."""
_EVALUATION = 1 << 40
"""In place of a rollout's number in the seeds of an evaluation."""


def train_policy(
    config: RolloutConfig, run: StageRun, *, method: Method, rewards: Sequence[RewardConfig]
) -> Outcome:
    """Prompts in, a model whose answers earn more out.

    Raises:
        DataError: no prompts in the split, or prompts of two kinds.
        ModelError: a model cannot be loaded, has no chat template, or too short a window.
        RewardError: a reward cannot work.
    """
    session = open_session(config, run)
    prompts = _prompts(session, config, config.split)
    held = _prompts(session, config, config.eval_split) if config.eval_split else None
    if held and held.kind != prompts.kind:
        raise DataError(
            f"split '{config.split}' holds {prompts.kind}s and '{config.eval_split}' {held.kind}s; the rewards can "
            "judge one kind; name an eval_split like the split"
        )
    policy = _policy(session, config, method, rewards, prompts.kind)
    session.shard_model()
    with session.packed():
        steps = RolloutSteps(
            _layout(session, config, prompts),
            scratch=run.scratch,
            make=partial(_make, policy, prompts.asked, method, config, run.seed),
            coefficient=method.kl.coefficient,
            next_coefficient=method.kl.next,
            accelerator=session.accelerator,
        )
        objective = Objective(method, steps, group=config.answers_per_prompt)
        watched: dict[str, Callable[[Loop], dict[str, float]]] = {}
        if held and config.eval_split:
            chosen = _spread(held.asked, config.eval_samples)
            watched[config.eval_split] = Evaluation(policy, chosen, session).measure
        batches = Batches(steps, steps.pack, objective, steps.source)
        loop = build_loop(session, batches, watched, watch="reward", highest=True, from_start=True)
        steps.write = loop.write
        state = loop.fit()
    policy.actor.drop_critic()
    outcome = finish(session, loop, state, shown=_shown(steps, session))
    facts = {"prompts": prompts.counted(), "rollouts": steps.begun}
    return _with_rewards(outcome, facts, session, state if held else None)


def _with_rewards(outcome: Outcome, facts: dict[str, Any], session: Session, state: State | None) -> Outcome:
    """``outcome`` with the rewards of rollouts and, where the stage was evaluated (``state``), of held-out answers."""
    run, first = session.run, session.accelerator.is_main_process
    earned = [row["reward"] for row in read_rows(run.out / "metrics.jsonl") if row["kind"] == "rollout"]
    facts["reward"] = {"before": earned[0], "after": earned[-1]}
    if first:
        rollout_plot(run.out / "metrics.jsonl", run.out / "rollouts.png")
    if state is None:
        return replace(outcome, details=outcome.details | {"rl": facts})
    kept = state.best_step if session.config.keep_best else state.evaluated_step
    for step, name in (0, BEFORE_FILE), (kept, SAMPLES_FILE):
        if first:
            atomic.write_bytes(run.out / name, _samples(run, step).read_bytes())
    processes.wait()
    gain = facts["reward_gain"] = reward_gain(run.out, seed=run.seed)
    metrics = {"eval.reward_gain": interval(gain["difference"], gain["low"], gain["high"])}
    return replace(outcome, metrics=outcome.metrics | metrics, details=outcome.details | {"rl": facts})


def reward_gain(folder: Path, *, seed: int) -> dict[str, float]:
    """Rewards of the held-out answers after training over those before: a paired test."""
    before, after = (
        [json.loads(line)["reward"] for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        for name in (BEFORE_FILE, SAMPLES_FILE)
    )
    test = sign_flip(before, after, seed=seed)
    return {
        "before": sum(before) / len(before),
        "after": sum(after) / len(after),
        "difference": test.difference,
        "low": test.interval.low,
        "high": test.interval.high,
        "p": test.p,
        "n": test.n,
    }


def _prompts(session: Session, config: RolloutConfig, split: str) -> Prompts:
    path = split_file(session.run.artifact(config.data or ""), split)
    window = getattr(session.core.config, "max_position_embeddings", None) or config.max_tokens
    room = min(config.max_tokens, window) - config.max_new_tokens
    found = read_prompts(
        read_split(path), session.renderer, split=split, room=room, policy=config.over_length
    )
    if found.shortened or found.left_out:
        reasons = "".join(f", {count} left out ({reason})" for reason, count in found.left_out.items())
        print(
            f"split '{split}': {len(found.asked)} prompts, {found.shortened} without their oldest exchanges{reasons}"
        )
    return found


def _policy(
    session: Session, config: RolloutConfig, method: Method, rewards: Sequence[RewardConfig], kind: Kind
) -> Policy:
    """The actor takes the place of the session's model; reward models join it on its trunk where they can."""
    actor = session.model = Actor(
        session.adapted, temperature=config.temperature, critic=method.critic, seed=session.run.seed
    )
    actor.to(session.accelerator.device)
    compared = config.tuning == "lora" or "reference" in method.measured(steps=config.steps_per_rollout)
    return Policy(
        actor=actor,
        reference=Reference(actor) if compared else None,
        scoring=_scoring(session, config, rewards, kind),
        renderer=session.renderer,
        sampler=_sampler(session, config),
        accelerator=session.accelerator,
        micro_batch_tokens=_micro_batch_tokens(config),
        share=_share(session, config),
        missing_stop_penalty=config.missing_stop_penalty,
        stop_requested=session.run.stop_requested,
    )


def _sampler(session: Session, config: RolloutConfig) -> Sampler:
    sampling = Sampling(
        config.max_new_tokens, session.renderer.stop_ids, config.temperature, config.top_p, config.top_k
    )
    if config.engine == "transformers":
        return OwnSampler(session.core, sampling, batch_tokens=config.generation_tokens)
    if session.accelerator.num_processes > 1:
        raise TrainingError(
            "engine vllm answers in one process; start without torchrun, or set engine: transformers"
        )
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": session.core.dtype}
    return VllmSampler(
        session.adapted,
        session.core,
        sampling,
        dtype=kinds[str(session.accelerator.mixed_precision)],
        tokens=config.generation_tokens,
        longest=config.max_tokens,
    )


def _scoring(session: Session, config: RolloutConfig, rewards: Sequence[RewardConfig], kind: Kind) -> Scoring:
    scorers = {
        str(each.model): share_or_load(
            session.run.model(str(each.model)),
            session.model,
            base=session.base,
            seed=session.base_seed,
            trust_remote_code=each.trust_remote_code,
        )
        for each in rewards
        if isinstance(each, ModelReward)
    }
    for name, scorer in scorers.items():
        if scorer.context_tokens < config.max_tokens:
            raise ModelError(
                f"reward model {name} reads {scorer.context_tokens} tokens, and an answer with its prompt may have "
                f"{config.max_tokens}; set max_tokens to {scorer.context_tokens} or less"
            )
    context = Context(
        record=kind,
        locate=session.run.model,
        device=str(session.accelerator.device),
        scorers=scorers,
    )
    return Scoring(rewards, context, low=config.reward_low, high=config.reward_high)


def _micro_batch_tokens(config: RolloutConfig) -> int:
    return config.micro_batch_tokens if config.packing else 1


def _share(session: Session, config: RolloutConfig) -> bool:
    return session.share and config.answers_per_prompt > 1


def _layout(session: Session, config: RolloutConfig, prompts: Prompts) -> Layout:
    number = len(prompts.asked)
    return Layout(
        rollouts=max(1, math.ceil(config.epochs * number / config.rollout_prompts)),
        steps=config.steps_per_rollout,
        passes=config.rollout_epochs,
        answers=config.rollout_prompts * config.answers_per_prompt,
        max_steps=config.max_steps,
        epochs_per_rollout=config.rollout_prompts / number,
        micro_batch_tokens=_micro_batch_tokens(config),
        share=_share(session, config),
        seed=session.run.seed,
        max_update_kl=config.max_update_kl,
        max_kl=config.max_kl,
    )


def _make(
    policy: Policy,
    asked: Sequence[Asked],
    method: Method,
    config: RolloutConfig,
    seed: int,
    number: int,
    *,
    coefficient: float,
) -> Rollout:
    chosen = prompt_numbers(len(asked), number=number, size=config.rollout_prompts, seed=seed)
    seeds: list[list[Seed]] = [
        [(seed, number, place, copy) for copy in range(config.answers_per_prompt)]
        for place in range(len(chosen))
    ]
    rollout, _ = policy.roll_out(
        [asked[index] for index in chosen],
        seeds,
        measured=method.measured(steps=config.steps_per_rollout),
    )
    if coefficient:
        rollout.facts["kl_coefficient"] = coefficient
    method.prepare(rollout, coefficient=coefficient)
    return rollout


def prompt_numbers(total: int, *, number: int, size: int, seed: int) -> list[int]:
    """Which prompts rollout ``number`` asks: ``size`` of an endless row of shufflings of all ``total``."""
    places = range(number * size, (number + 1) * size)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(total)
        for epoch in {place // total for place in places}
    }
    return [int(orders[place // total][place % total]) for place in places]


def _spread(asked: Sequence[Asked], most: int) -> list[Asked]:
    number = min(most, len(asked))
    return [asked[place * len(asked) // number] for place in range(number)]


@dataclass
class Evaluation:
    """Held-out prompts, always asked with the same random numbers."""

    policy: Policy
    asked: list[Asked]
    session: Session

    def measure(self, loop: Loop) -> dict[str, float]:
        """Mean reward and its parts, length, and distance from the reference; the answers go to a scratch file."""
        seed = self.session.run.seed
        rollout, texts = self.policy.roll_out(
            self.asked,
            [[(seed, _EVALUATION, place, 0)] for place in range(len(self.asked))],
            measured=("log_probs", "reference") if self.policy.reference else (),
        )
        if self.session.accelerator.is_main_process:
            rows = (
                {
                    "step": loop.state.step,
                    "prompt": [message.to_json() for message in asked.messages],
                    "answer": text,
                    "reward": round(float(score), 6),
                }
                for asked, text, score in zip(self.asked, texts, rollout.scores, strict=True)
            )
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            atomic.write_text(_samples(self.session.run, loop.state.step), "".join(lines))
        return rounded(rollout.facts)


def _samples(run: StageRun, step: int) -> Path:
    return run.scratch / "samples" / f"{step:08d}.jsonl"


def _shown(steps: RolloutSteps, session: Session) -> list[list[Any]]:
    """The first answer of the last rollout, as it was learned from."""
    ids, mask = steps.example()
    return session.renderer.visible(Encoded(ids, mask.astype(np.float32)))
