"""Answers token by token: several per prompt, of which every row costs only as long as it is being written.

A prompt is read once, however many answers it gets. A row that has ended leaves the batch, and its keys and values
with it. Logits of a step are drawn from and forgotten. Each answer has its own stream of random numbers, so that it
does not depend on which other prompts share its batch, up to rounding.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from xinglin.errors import ModelError

NOT_FINITE = (
    "the model's probabilities are not finite, so it cannot answer; its weights are damaged, or its learning rate was "
    "too high: lower that, or take other weights"
)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when an answer ends."""

    max_new_tokens: int
    stop_ids: tuple[int, ...]
    """An answer ends with the first of these."""
    temperature: float = 1.0
    """0: always the most likely token."""
    top_p: float = 1.0
    """Only the most likely tokens that together have this probability."""
    top_k: int | None = None
    """Only this many of the most likely tokens."""


class Answer(NamedTuple):
    ids: list[int]
    """The tokens written, the stop token included."""
    stopped: bool
    """It ended by itself; else it was cut at ``max_new_tokens``."""
    log_probs: list[float] | None = None
    """Natural logarithms of the probabilities that the tokens were drawn with, where another program drew them."""


Seed = Sequence[int]


def sample_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[Seed]],
    *,
    sampling: Sampling,
    batch_tokens: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[Answer]]:
    """The answers to each prompt, in order.

    Args:
        model: in its own attention, not within ``packed_attention``.
        prompts: token ids.
        seeds: for each prompt, of the answers that it gets; the same number for all.
        sampling: how tokens are chosen.
        batch_tokens: bounds answers x (prompt + ``max_new_tokens``) of a batch, which holds one prompt at least.
        progress: is told how many more prompts are done.

    Raises:
        ModelError: the model's probabilities are not finite.
    """
    answers: list[list[Answer]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    while order:
        each = len(seeds[order[0]]) * (len(prompts[order[0]]) + sampling.max_new_tokens)
        batch, order = order[: max(1, batch_tokens // each)], order[max(1, batch_tokens // each) :]
        noise = _uniform([seeds[index] for index in batch], sampling)
        rows = iter(_decode(model, [prompts[index] for index in batch], noise, sampling))
        for index in batch:
            answers[index] = [next(rows) for _ in seeds[index]]
        progress(len(batch))
    return answers


def _uniform(seeds: Sequence[Sequence[Seed]], sampling: Sampling) -> Tensor:
    """(rows, max_new_tokens) numbers in [0, 1), one for every token that may be drawn."""
    if sampling.temperature == 0:
        return torch.zeros(sum(map(len, seeds)), sampling.max_new_tokens)
    rows = [
        np.random.default_rng(list(seed)).random(sampling.max_new_tokens, dtype=np.float32)
        for group in seeds
        for seed in group
    ]
    return torch.from_numpy(np.stack(rows))


@torch.no_grad()
def _decode(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], noise: Tensor, sampling: Sampling
) -> list[Answer]:
    """len(noise) / len(prompts) answers to each prompt."""
    device = model.device
    width = max(map(len, prompts))
    starts = [width - len(prompt) for prompt in prompts]
    ids = torch.tensor([[0] * start + list(prompt) for start, prompt in zip(starts, prompts, strict=True)])
    reader = _Reader(model, torch.tensor(starts, device=device), padded=any(starts))
    logits = reader.read(ids.to(device))
    copies = len(noise) // len(prompts)
    logits = logits.repeat_interleave(copies, dim=0)
    reader.repeat(copies)
    noise, stops = noise.to(device), torch.tensor(sampling.stop_ids, device=device)
    written = torch.full(noise.shape, -1, device=device)
    rows = torch.arange(len(noise), device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    for place in range(sampling.max_new_tokens):
        finite &= logits.amax().isfinite()
        tokens = draw(logits, noise[rows, place], sampling)
        written[rows, place] = tokens
        going = torch.isin(tokens, stops, invert=True)
        if place + 1 == sampling.max_new_tokens or not going.any():
            break
        if not going.all():
            rows, tokens = rows[going], tokens[going]
            reader.keep(going.nonzero()[:, 0])
        logits = reader.read(tokens[:, None])
    if not finite:
        raise ModelError(NOT_FINITE)
    lengths = (written >= 0).sum(1).tolist()
    found = [row[:length] for row, length in zip(written.tolist(), lengths, strict=True)]
    return [Answer(row, row[-1] in sampling.stop_ids) for row in found]


class _Reader:
    """The model and what it has read so far: rows that end together, the shorter ones filled up on the left."""

    def __init__(self, model: PreTrainedModel, starts: Tensor, *, padded: bool):
        self.model: Any = model
        self.starts = starts
        self.padded = padded
        self.length = 0
        self.cache = DynamicCache(config=model.config)
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def read(self, ids: Tensor) -> Tensor:
        """(rows, n) further tokens -> (rows, vocabulary) logits of the token after them."""
        inputs: dict[str, Any] = {"input_ids": ids, "past_key_values": self.cache, "use_cache": True}
        before, self.length = self.length, self.length + ids.shape[1]
        if self.padded:
            places = torch.arange(self.length, device=ids.device) - self.starts[:, None]
            inputs["attention_mask"] = (places >= 0).long()
            if self.takes_positions:
                inputs["position_ids"] = places[:, before:].clamp_min(0)
        logits: Tensor = self.model(**inputs, logits_to_keep=1).logits[:, -1]
        return logits

    def repeat(self, copies: int) -> None:
        if copies > 1:
            self.cache.batch_repeat_interleave(copies)
            self.starts = self.starts.repeat_interleave(copies)

    def keep(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.starts = self.starts[rows]


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """(rows,) token ids: where ``uniform`` (rows,) in [0, 1) falls in the cumulated probabilities."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    order = None
    if sampling.top_p < 1 or sampling.top_k:
        probabilities, order = probabilities.sort(-1, descending=True)
        if sampling.top_k:
            probabilities[:, sampling.top_k :] = 0
        whole = probabilities.sum(-1, keepdim=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p * whole, 0)
    cumulated = probabilities.cumsum(-1)
    # A float32 below 1 times the sum is below the sum: a token without probability is never drawn.
    wanted = (uniform * cumulated[:, -1])[:, None]
    # Where nothing is finite, any token that there is: an index out of range would end a CUDA process for good.
    places = torch.searchsorted(cumulated, wanted, right=True).clamp_max(cumulated.shape[-1] - 1)
    return (places if order is None else order.gather(-1, places))[:, 0]
