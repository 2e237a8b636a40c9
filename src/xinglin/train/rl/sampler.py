"""Who writes the policy's answers: its own model, or vLLM with the policy's weights of the moment."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from xinglin.errors import TrainingError
from xinglin.models.attention import attention
from xinglin.models.decoding import Answer, Sampling, Seed, sample_answers
from xinglin.models.merged import merged_weights
from xinglin.models.vllm import VllmModel

MAX_GAP = 0.5
"""Nats per token that bfloat16 arithmetic of two programs does not explain: they have different weights."""


class Sampler(Protocol):
    """Writes answers with the weights as they are now."""

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        ...

    @property
    def foreign(self) -> bool:
        """Another program than the one that learns computes the probabilities: answers come with them."""
        ...

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[Seed]],
        *,
        progress: Callable[[int], None],
    ) -> list[list[Answer]]:
        """The answers to each prompt, one for each of its seeds."""
        ...


class OwnSampler:
    """The model itself, in its own attention. Built before ``packed_attention``."""

    foreign = False

    def __init__(self, core: PreTrainedModel, sampling: Sampling, *, batch_tokens: int):
        self.core, self.sampling, self.batch_tokens = core, sampling, batch_tokens
        self.attention = str(core.config._attn_implementation)

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[Seed]],
        *,
        progress: Callable[[int], None],
    ) -> list[list[Answer]]:
        with attention(self.core, self.attention):
            return sample_answers(
                self.core,
                prompts,
                seeds,
                sampling=self.sampling,
                batch_tokens=self.batch_tokens,
                progress=progress,
            )


class VllmSampler:
    """vLLM beside the model that learns, on the same device; before it writes it is given the merged weights.

    Args:
        model: as it is trained, with or without an adapter.
        dtype: of the arithmetic.
        tokens: that vLLM's key-value cache has room for.
        longest: tokens of the longest prompt and answer together.

    Raises:
        ModelError: vLLM cannot run this architecture.
    """

    foreign = True

    def __init__(
        self,
        model: nn.Module,
        core: PreTrainedModel,
        sampling: Sampling,
        *,
        dtype: torch.dtype,
        tokens: int,
        longest: int,
    ):
        self.model, self.sampling = model, sampling
        self.device = core.device.type
        with torch.random.fork_rng():
            self.vllm = VllmModel.without_weights(
                core.config, architecture=type(core).__name__, dtype=dtype, tokens=tokens, longest=longest
            )

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[Seed]],
        *,
        progress: Callable[[int], None],
    ) -> list[list[Answer]]:
        with torch.autocast(self.device, enabled=False), torch.random.fork_rng():
            self.vllm.load(merged_weights(self.model))
            return self.vllm.sample(prompts, seeds, sampling=self.sampling, progress=progress)


def sampler_gap(answers: Sequence[Answer], log_probs: torch.Tensor, sampling: Sampling) -> float:
    """Mean distance of the log-probabilities that tokens were drawn with from (M,) those of the model that learns.

    The latter know nothing of ``top_p`` and ``top_k``, so with those it is more than rounding.

    Raises:
        TrainingError: the answers are those of another model.
    """
    drawn: list[Any] = [number for answer in answers for number in answer.log_probs or ()]
    gap = float((torch.tensor(drawn) - log_probs).abs().mean())
    if gap > MAX_GAP and sampling.top_p == 1 and not sampling.top_k:
        raise TrainingError(
            f"vLLM draws tokens with log-probabilities {gap:.2f} away from the model's own, so it has other weights; "
            "it does not know this architecture as transformers does: set engine: transformers"
        )
    return gap
