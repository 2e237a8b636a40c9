"""How long reinforcement learning takes: its answers, what they are measured by, and the steps over them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xinglin.config.rl import RolloutConfig
from xinglin.train.duration import forecast_seconds, forecast_token_seconds
from xinglin.train.memory import Shape, Work, flops, reading_flops
from xinglin.train.state import evaluation_interval


@dataclass(frozen=True)
class _Sizes:
    """Of the answers of one rollout or evaluation: all of them as long as they may get."""

    prompts: int
    copies: int
    """Answers to each prompt."""
    prompt_tokens: float
    new_tokens: int

    @property
    def laid(self) -> float:
        """Tokens that are computed where answers share their prompt."""
        return self.prompts * (self.prompt_tokens + self.copies * self.new_tokens)

    @property
    def mean_length(self) -> float:
        return (self.prompt_tokens + self.new_tokens) / 2

    @property
    def head_share(self) -> float:
        return self.prompts * self.copies * self.new_tokens / self.laid


def rollout_seconds(
    config: RolloutConfig, shape: Shape, work: Work, facts: Mapping[str, Any], judges: Sequence[Shape]
) -> dict[str, float]:
    """Seconds of ``answering``, ``scoring`` and ``updates`` on one device, if every answer is as long as it may get.

    Args:
        facts: what the data set's artifact says about the split of prompts.
        judges: the reward models.
    """
    steps = config.steps_per_rollout * max(
        1, math.ceil(config.epochs * facts["records"] / config.rollout_prompts)
    )
    steps = min(steps, config.max_steps or steps)
    rollouts = math.ceil(steps / config.steps_per_rollout)
    asked = _prompt_tokens(config, facts)
    rollout = _Sizes(config.rollout_prompts, config.answers_per_prompt, asked, config.max_new_tokens)
    held = _Sizes(config.eval_samples, 1, asked, config.max_new_tokens)
    evaluations = _evaluations(config, steps)
    dtype = torch.bfloat16 if work.activation_bytes == 2 else torch.float32
    answering = rollouts * _answering(config, shape, work, rollout, dtype)
    scoring = rollouts * _reading(rollout, [*[shape] * config.measured_passes, *judges])
    if evaluations:
        answering += evaluations * _answering(config, shape, work, held, dtype)
        scoring += evaluations * _reading(held, [shape, shape, *judges])
    each = flops(shape, work, mean_length=rollout.mean_length, trained_share=rollout.head_share)
    # A value adapter reads everything once more.
    passes = steps / config.steps_per_rollout * config.rollout_epochs * work.adapters
    return {
        "answering": answering,
        "scoring": forecast_seconds(scoring, dtype),
        "updates": forecast_seconds(passes * rollout.laid * each, dtype),
    }


def _prompt_tokens(config: RolloutConfig, facts: Mapping[str, Any]) -> float:
    """Mean length of a prompt: what is not trained, in preferences twice; the longest one where that is not known."""
    longest = config.max_tokens - config.max_new_tokens
    if not facts.get("tokens"):
        return longest
    sequences = facts["records"] * (2 if facts.get("record") == "preference" else 1)
    return min(longest, (facts["tokens"] - facts["trained_tokens"]) / sequences)


def _evaluations(config: RolloutConfig, steps: int) -> int:
    if not config.eval_split:
        return 0
    return 1 + math.ceil(steps / evaluation_interval(config, steps=steps))


def _answering(config: RolloutConfig, shape: Shape, work: Work, sizes: _Sizes, dtype: torch.dtype) -> float:
    row = sizes.prompt_tokens + sizes.new_tokens
    together = min(sizes.prompts, max(1, int(config.generation_tokens / (sizes.copies * row))))
    batches = math.ceil(sizes.prompts / together)
    rows = sizes.prompts * sizes.copies / batches
    reading = sizes.prompts * sizes.prompt_tokens * _per_token(shape, sizes.prompt_tokens / 2, head_share=0)
    kept = 2 * shape.key_value_width * shape.layers * work.activation_bytes * sizes.mean_length
    each = forecast_token_seconds(
        layers=shape.layers,
        adapted=work.tuning == "lora",
        flops=rows * _per_token(shape, row - sizes.new_tokens / 2, head_share=1),
        read_bytes=shape.parameters * work.weight_bytes + rows * kept,
        dtype=dtype,
    )
    return forecast_seconds(reading, dtype) + batches * sizes.new_tokens * each


def _reading(sizes: _Sizes, models: Sequence[Shape]) -> float:
    """Operations of one pass of each model."""
    return sizes.laid * sum(
        _per_token(each, sizes.mean_length, head_share=sizes.head_share) for each in models
    )


def _per_token(shape: Shape, reach: float, *, head_share: float) -> float:
    return reading_flops(shape, mean_length=reach, head_share=head_share)
