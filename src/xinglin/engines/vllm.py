"""Generates and scores with vLLM, where it is installed: many answers at a time, whatever their lengths."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, PretrainedConfig

from xinglin.config.tiny import is_tiny
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.engines import Generation, Likelihood
from xinglin.engines._texts import Texts
from xinglin.errors import DataError
from xinglin.models.adapter import is_adapter
from xinglin.models.decoding import Sampling, Seed
from xinglin.models.load import load_model
from xinglin.models.tokenizer import load_tokenizer
from xinglin.models.vllm import VllmModel


class VllmEngine:
    """One model in vLLM. ``batch_tokens`` is what its key-value cache has room for, so no sequence may be longer."""

    def __init__(self, model: VllmModel, config: PretrainedConfig, renderer: Renderer, *, batch_tokens: int):
        self.model = model
        self.renderer = renderer
        self.texts = Texts(renderer, config)
        self.context_tokens = self.texts.context_tokens
        self.batch_tokens = batch_tokens

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        """One answer per conversation; ``temperature`` 0 is greedy.

        A conversation that is longer than the model's window loses its oldest exchanges (``left_out``).

        Raises:
            DataError: a last question alone leaves no room for an answer in the window, or in ``batch_tokens``.
        """
        windows = [self.texts.window(messages, max_new_tokens) for messages in conversations]
        seeds: list[list[Seed]] = [[(seed, number)] for number in range(len(windows))]
        answers = self._sample(
            [window.messages for window in windows],
            seeds,
            Sampling(max_new_tokens, self.renderer.stop_ids, temperature, top_p),
            progress,
        )
        return [
            self.texts.answer(ids, left_out=window.left_out)
            for window, (ids,) in zip(windows, answers, strict=True)
        ]

    def sample(
        self,
        conversations: Sequence[Sequence[Message]],
        seeds: Sequence[Sequence[Seed]],
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Generation]]:
        """The answers to each conversation, one for each of its seeds: the same ones whatever shares their batch, up
        to rounding. They are not those that another engine draws with the same seeds.

        Raises:
            DataError: a conversation leaves no room for an answer in the window, or in ``batch_tokens``.
        """
        sampling = Sampling(max_new_tokens, self.renderer.stop_ids, temperature, top_p)
        answers = self._sample(conversations, seeds, sampling, progress)
        return [[self.texts.answer(ids) for ids in group] for group in answers]

    def log_likelihoods(
        self,
        requests: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log-probability of each answer text after its rendered prompt, end of turn not included."""
        encoded = self.renderer.encode([self.texts.scored(messages, answer) for messages, answer in requests])
        for item in encoded:
            self._check_room(len(item.ids) + 1)
        measured = self.model.log_probs(
            [item.ids.tolist() for item in encoded], progress=progress or (lambda done: None)
        )
        return [
            Likelihood(
                sum(number for number, own in zip(numbers, item.mask[1:], strict=True) if own),
                int(item.mask.sum()),
            )
            for numbers, item in zip(measured, encoded, strict=True)
        ]

    def _sample(
        self,
        conversations: Sequence[Sequence[Message]],
        seeds: Sequence[Sequence[Seed]],
        sampling: Sampling,
        progress: Callable[[int], None] | None,
    ) -> list[list[list[int]]]:
        prompts = [self.texts.prompt(messages, sampling.max_new_tokens) for messages in conversations]
        for prompt in prompts:
            self._check_room(len(prompt) + sampling.max_new_tokens)
        answers = self.model.sample(
            prompts, seeds, sampling=sampling, progress=progress or (lambda done: None)
        )
        return [[answer.ids for answer in group] for group in answers]

    def _check_room(self, tokens: int) -> None:
        if tokens > self.batch_tokens:
            raise DataError(
                f"a prompt and its answer may have {tokens} tokens, and batch_tokens {self.batch_tokens} is all that "
                f"vLLM has room for; raise it to {tokens} or more, or set engine: transformers"
            )


def load(
    spec: str,
    *,
    batch_tokens: int,
    tokenizer_folder: Path | None = None,
    template: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> VllmEngine:
    """From anything that ``models.load`` takes. An adapter is merged first, into a temporary full model.

    Raises:
        ModelError: nothing loadable there, or vLLM cannot run it.
    """
    if not (is_adapter(spec) or is_tiny(spec)):
        name = spec.removeprefix("hub:")
        tokenizer = load_tokenizer(name, trust_remote_code=trust_remote_code)
        return _open(name, Renderer(tokenizer, template=template), batch_tokens, trust_remote_code)
    model, tokenizer = load_model(
        spec, tokenizer_folder=tokenizer_folder, seed=seed, trust_remote_code=trust_remote_code
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        return _open(folder, Renderer(tokenizer, template=template), batch_tokens, trust_remote_code)


def _open(folder: str, renderer: Renderer, batch_tokens: int, trust_remote_code: bool) -> VllmEngine:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    dtype: torch.dtype | Literal["auto"] = torch.float32
    if torch.cuda.is_available():
        dtype = getattr(config, "dtype", None) or "auto"
    window: Any = Texts(renderer, config).context_tokens
    model = VllmModel(
        folder,
        config,
        dtype=dtype,
        tokens=batch_tokens,
        longest=min(window, batch_tokens),
        trust_remote_code=trust_remote_code,
    )
    return VllmEngine(model, config, renderer, batch_tokens=batch_tokens)
