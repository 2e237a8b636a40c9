"""Settings that PPO, GRPO and RLOO share: which answers are asked for, and how often they are learned from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinglin.config.base import AnySplit
from xinglin.config.parts import Above, AtLeastZero, Positive, TrainingConfig


class RolloutConfig(TrainingConfig):
    """Answers of the model itself, learned from by what they are worth."""

    eval_split: AnySplit | None = None
    """The split whose prompts are answered to see what the policy is worth, if any."""
    max_tokens: Positive = 1024
    """Longest prompt and answer together. A longer prompt loses its oldest exchanges; one whose last question alone
    is too long is left out and counted."""
    over_length: Literal["error", "drop", "truncate_history"] = "truncate_history"
    """What happens to longer prompts."""
    batch_size: Positive | None = None
    """Answers per optimizer step, over all processes. Default: all of a rollout."""
    batch_tokens: None = None
    """Not here: how long answers will be is not known; use ``batch_size``."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the prompts."""

    rollout_prompts: Positive = 64
    """Prompts that are answered with the same weights, over all processes."""
    answers_per_prompt: Positive = 1
    """Answers to each of them."""
    rollout_epochs: Positive = 1
    """Passes over the answers of a rollout. It takes rollout_epochs x answers / batch_size optimizer steps."""
    max_new_tokens: Positive = 256
    """An answer is cut after this many tokens."""
    temperature: Above = 1.0
    """Of the sampling, and of every probability that is compared."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample from the most likely tokens that together have this probability."""
    top_k: Positive | None = None
    """Sample from this many of the most likely tokens."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What writes the answers: the model itself, or vLLM with its weights, where that is installed."""
    generation_tokens: Positive = 32768
    """Bounds answers x (prompt + max_new_tokens) of a generated batch; with ``vllm`` the tokens that its key-value
    cache has room for. Changes speed and memory."""

    reward_low: float = -10.0
    """The sum of the rewards is clipped to at least this, which is also what a veto gives."""
    reward_high: float = 10.0
    """And to at most this."""
    missing_stop_penalty: AtLeastZero = 0.0
    """Taken off the reward of an answer that was cut."""
    entropy_coefficient: AtLeastZero = 0.0
    """Adds this times the entropy per token to what is maximised; keeps the policy from becoming certain."""
    max_update_kl: Above | None = None
    """Go on to the next rollout as soon as the policy is further than this many nats per token from the one that
    gave the answers. None: always take all steps of a rollout."""
    max_kl: Above | None = None
    """End the stage when a rollout is further than this many nats per answer from the reference. None: never."""
    eval_samples: Positive = 64
    """Prompts of ``eval_split``, evenly spread, that an evaluation asks; as in a rollout, with fixed random numbers."""

    @model_validator(mode="after")
    def _can_be_learned_from(self) -> "RolloutConfig":
        answers = self.rollout_prompts * self.answers_per_prompt
        size = self.batch_size or answers
        if answers % size or size % self.answers_per_prompt:
            raise ValueError(
                f"batch_size {size} does not divide a rollout of {self.rollout_prompts} x {self.answers_per_prompt} "
                f"answers into whole groups; take a multiple of {self.answers_per_prompt} that divides {answers}"
            )
        if self.probe:
            raise ValueError("probe has no step to try before there are answers; leave it out")
        if self.max_new_tokens >= self.max_tokens:
            raise ValueError("max_new_tokens leaves no room for a prompt; raise max_tokens")
        if self.reward_low >= self.reward_high:
            raise ValueError("reward_low is not below reward_high")
        blurred = {
            "neftune_alpha": self.neftune_alpha,
            "lora.dropout": self.lora.dropout,
        }
        for key, value in blurred.items():
            if value:
                raise ValueError(f"{key} blurs the probabilities that are compared; leave it out")
        if self.tuning == "lora" and self.lora.init in ("pissa", "olora"):
            raise ValueError(
                f"lora.init {self.lora.init} changes the base, which is the reference here; use default"
            )
        return self

    @model_validator(mode="after")
    def _engine_can(self) -> "RolloutConfig":
        if self.engine == "vllm" and self.quantization != "none":
            raise ValueError("engine: vllm takes no weights that are quantized; set engine: transformers")
        if self.engine == "vllm" and self.generation_tokens < self.max_tokens:
            raise ValueError(
                f"generation_tokens {self.generation_tokens} has no room for one sequence of max_tokens "
                f"{self.max_tokens}, which vLLM needs; raise it"
            )
        return self

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps that a rollout takes when it is not left early."""
        answers = self.rollout_prompts * self.answers_per_prompt
        return self.rollout_epochs * (answers // (self.batch_size or answers))

    @property
    def measured_passes(self) -> int:
        """Passes over the answers of a rollout before its steps: of the policy, and of the reference."""
        return 2
