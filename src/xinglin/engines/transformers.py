"""Generates and scores in this process, with the model's own forward pass."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from xinglin.data.packing import first_fit, pack_sequences
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.engines import Finish, Generation, Likelihood
from xinglin.engines._texts import Texts
from xinglin.models.attention import isolated, packed_attention, quadratic
from xinglin.models.decoding import Sampling, Seed, sample_answers
from xinglin.models.load import load_model
from xinglin.models.packed import PackedModel, sequence_sums

QUADRATIC_TOKENS = 2048
"""Tokens of a scored batch at the most, for models whose packed attention needs a mask."""


class TransformersEngine:
    """One model in memory, adapters merged in.

    ``batch_tokens`` bounds rows x (prompt + answer) of a generated batch, and the tokens of a scored one.
    """

    def __init__(self, model: PreTrainedModel, renderer: Renderer, *, batch_tokens: int = 8192):
        self.model = model.eval()
        self.renderer = renderer
        self.batch_tokens = batch_tokens
        self.texts = Texts(renderer, model.config)
        self.context_tokens = self.texts.context_tokens

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        batch_tokens: int = 8192,
        tokenizer_folder: Path | None = None,
        template: str | None = None,
        seed: int = 0,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> "TransformersEngine":
        """From anything that ``models.load`` takes, on the GPU when there is one.

        ``template`` names a packaged chat template; None takes the model's own.
        """
        model, tokenizer = load_model(
            spec, tokenizer_folder=tokenizer_folder, seed=seed, trust_remote_code=trust_remote_code
        )
        place: Any = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(place), Renderer(tokenizer, template=template), batch_tokens=batch_tokens)

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
        """One answer per conversation, batched by length; ``temperature`` 0 is greedy.

        A conversation that is longer than the model's window loses its oldest exchanges (``left_out``).

        Raises:
            DataError: a last question alone leaves no room for an answer in the model's window.
        """
        windows = [self.texts.window(messages, max_new_tokens) for messages in conversations]
        prompts = [self.texts.prompt(window.messages, max_new_tokens) for window in windows]
        answers: list[Generation | None] = [None] * len(prompts)
        for batch in self._batches(prompts, max_new_tokens):
            torch.manual_seed(seed)
            rows = self._generate_batch([prompts[i] for i in batch], max_new_tokens, temperature, top_p)
            for index, ids in zip(batch, rows, strict=True):
                answers[index] = self.texts.answer(ids, left_out=windows[index].left_out)
            if progress:
                progress(len(batch))
        return [answer for answer in answers if answer is not None]

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
        to rounding.

        Raises:
            DataError: a conversation leaves no room for an answer in the model's window.
        """
        prompts = [self.texts.prompt(messages, max_new_tokens) for messages in conversations]
        answers = sample_answers(
            self.model,
            prompts,
            seeds,
            sampling=Sampling(max_new_tokens, self.renderer.stop_ids, temperature, top_p),
            batch_tokens=self.batch_tokens,
            progress=progress or (lambda done: None),
        )
        return [[self.texts.answer(answer.ids) for answer in group] for group in answers]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Generator[str, None, Finish]:
        """The answer in pieces of whole characters, as it is made; returns why it ended.

        Closing the generator stops the model.
        """
        prompt = self.texts.prompt(messages, max_new_tokens)
        feed, stop = _Feed(), _Stop()
        torch.manual_seed(seed)

        def work() -> None:
            try:
                self._generate_batch([prompt], max_new_tokens, temperature, top_p, streamer=feed, stop=stop)
            except BaseException as error:
                feed.tokens.put(error)
            finally:
                feed.tokens.put(None)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            return (yield from self._pieces(feed.tokens))
        finally:
            stop.asked = True
            thread.join()

    def log_likelihoods(
        self,
        requests: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log-probability of each answer text after its rendered prompt, end of turn not included."""
        encoded = self.renderer.encode([self.texts.scored(messages, answer) for messages, answer in requests])
        lengths = torch.tensor([len(item.ids) for item in encoded]).numpy()
        results: list[Likelihood | None] = [None] * len(encoded)
        scorer = PackedModel(self.model)
        with torch.no_grad(), packed_attention(self.model) if self._packs else nullcontext():
            budget = min(self.batch_tokens, QUADRATIC_TOKENS) if quadratic(self.model) else self.batch_tokens
            for members in first_fit(lengths, budget):
                packed = pack_sequences([(encoded[i].ids, encoded[i].mask) for i in members]).to(
                    self.model.device
                )
                totals = sequence_sums(scorer(packed, want="log_probs"), packed).tolist()
                for index, total in zip(members.tolist(), totals, strict=True):
                    results[index] = Likelihood(total, int(encoded[index].mask.sum()))
                if progress:
                    progress(len(members))
        return [result for result in results if result is not None]

    @cached_property
    def _packs(self) -> bool:
        """Whether scored sequences may share a pass; else each has its own, to the same numbers."""
        return isolated(self.model)

    def _batches(self, prompts: list[list[int]], max_new_tokens: int) -> Iterator[list[int]]:
        """Indices, longest prompt first, as many rows as fit into ``batch_tokens``."""
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        while order:
            rows = max(1, self.batch_tokens // (len(prompts[order[0]]) + max_new_tokens))
            yield order[:rows]
            order = order[rows:]

    @torch.no_grad()
    def _generate_batch(
        self,
        prompts: list[list[int]],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        *,
        streamer: BaseStreamer | None = None,
        stop: StoppingCriteria | None = None,
    ) -> list[list[int]]:
        """New token ids of each prompt, up to and including the stop token."""
        pad = self.renderer.stop_ids[0]
        width = max(map(len, prompts))
        ids = torch.tensor(
            [[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=self.model.device
        )
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=ids.device
        )
        sampling = (
            {"do_sample": True, "temperature": temperature, "top_p": top_p}
            if temperature > 0
            else {"do_sample": False}
        )
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            eos_token_id=list(self.renderer.stop_ids),
            pad_token_id=pad,
            **sampling,
        )
        model: Any = self.model
        output = model.generate(
            ids,
            attention_mask=mask,
            generation_config=config,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([stop]) if stop else None,
        )
        return [self._until_stop(row) for row in output[:, width:].tolist()]

    def _until_stop(self, ids: list[int]) -> list[int]:
        end = next((index for index, token in enumerate(ids) if token in self.renderer.stop_ids), None)
        return ids if end is None else ids[: end + 1]

    def _pieces(self, tokens: "SimpleQueue[Any]") -> Generator[str, None, Finish]:
        finish: Finish = "length"
        ids: list[int] = []
        shown = ""
        while (item := tokens.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if item in self.renderer.stop_ids:
                finish = "stop"
                continue
            ids.append(item)
            text: Any = self.renderer.tokenizer.decode(ids, skip_special_tokens=True)
            if not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        return finish


load = TransformersEngine.load


class _Feed(BaseStreamer):
    """Hands new tokens to another thread; the first call holds the prompt and is left out."""

    def __init__(self) -> None:
        self.tokens: SimpleQueue[Any] = SimpleQueue()
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if self._prompt_seen:
            for token in value.reshape(-1).tolist():
                self.tokens.put(token)
        self._prompt_seen = True

    def end(self) -> None:
        """The worker thread announces the end."""


class _Stop(StoppingCriteria):
    def __init__(self) -> None:
        self.asked = False

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **unused: Any
    ) -> torch.BoolTensor:
        stopped: Any = torch.full(
            (input_ids.shape[0],), self.asked, device=input_ids.device, dtype=torch.bool
        )
        return stopped
