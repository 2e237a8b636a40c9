"""vLLM (arXiv 2309.06180) as the writer of answers: one model, in this process, whose weights can be exchanged.

It runs in the process that asks, not in one of its own: weights are handed over as tensors, and what is computed
together depends on the requests alone, so that the same requests get the same answers again.
"""

import copy
import gc
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig

from xinglin.errors import ModelError
from xinglin.models.decoding import NOT_FINITE, Answer, Sampling, Seed
from xinglin.runtime.environment import prepare_vllm

LOWEST_TEMPERATURE = 0.01
"""vLLM takes anything between 0 and this for this."""
_BLOCK = 128
"""Tokens of the largest block that a key-value cache is cut into (on CPUs; 16 on GPUs)."""

_CPU_BATCH = 4096
"""Tokens that are computed together on a CPU, unless a single sequence is longer."""

_open: list[Any] = []
"""The model that is there, if any."""


class VllmModel:
    """A causal language model in vLLM. Token ids in, token ids and log-probabilities out.

    There is one at a time in a process, of which vLLM keeps global state: a new one ends the one before it.

    Args:
        folder: a full model in Hugging Face's layout, or the name of one on the hub.
        weights: ``saved``: as they are in ``folder``; ``later``: the first ``load`` brings them, and ``folder`` holds
            the config alone.
        dtype: of weights and arithmetic; ``auto``: vLLM's choice.
        tokens: that the key-value cache has room for, of all sequences together.
        longest: tokens of the longest sequence.

    Raises:
        ModelError: vLLM cannot run this model.
    """

    def __init__(
        self,
        folder: str,
        config: PretrainedConfig,
        *,
        dtype: torch.dtype | Literal["auto"],
        tokens: int,
        longest: int,
        weights: Literal["saved", "later"] = "saved",
        trust_remote_code: bool = False,
    ):
        prepare_vllm()
        from vllm import LLM  # type: ignore[missing-import]

        _end_the_one_before()
        try:
            self.llm: Any = LLM(
                model=folder,
                skip_tokenizer_init=True,
                use_tqdm_on_load=False,
                load_format="auto" if weights == "saved" else "dummy",
                dtype=str(dtype).removeprefix("torch."),
                **({} if torch.cuda.is_available() else _on_cpu(longest)),
                max_model_len=longest,
                kv_cache_memory_bytes=_cache_bytes(config, dtype, tokens=max(tokens, longest)),
                gpu_memory_utilization=0.01,  # asked for at the start, and meaningless beside the line above
                enable_prefix_caching=True,
                generation_config="vllm",  # nothing but what a request says
                logprobs_mode="processed_logprobs",  # of what was drawn from: temperature, top_p and top_k in
                trust_remote_code=trust_remote_code,
            )
        except (ValueError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0][:300]
            raise ModelError(
                f"{folder}: vLLM cannot run this model ({reason}); set engine: transformers"
            ) from error
        _open.append(self.llm)

    @classmethod
    def without_weights(
        cls, config: PretrainedConfig, *, architecture: str, dtype: torch.dtype, tokens: int, longest: int
    ) -> "VllmModel":
        """A model that ``load`` gives its weights to, every time that they have changed.

        Its head is untied: where the embeddings are replaced, vLLM leaves a tied head on CPUs as it was.
        """
        config = copy.deepcopy(config)
        config.architectures, config.tie_word_embeddings = [architecture], False
        with tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            return cls(folder, config, dtype=dtype, tokens=tokens, longest=longest, weights="later")

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take these weights for all that were there, and forget what was computed with those."""
        with torch.no_grad():
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        self.llm.reset_prefix_cache()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[Seed]],
        *,
        sampling: Sampling,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[list[Answer]]:
        """The answers to each prompt, in order, with the log-probabilities that their tokens were drawn with.

        Args:
            prompts: token ids.
            seeds: for each prompt, of the answers that it gets.
            sampling: how tokens are chosen.
            progress: is told how many more prompts are done.

        Raises:
            ModelError: the model's probabilities are not finite, or a temperature that vLLM does not have.
        """
        requests = [
            (list(prompt), _parameters(sampling, seed))
            for prompt, group in zip(prompts, seeds, strict=True)
            for seed in group
        ]
        owners = [number for number, group in enumerate(seeds) for _ in group]
        waiting = [len(group) for group in seeds]

        def advance(request: int) -> None:
            waiting[owners[request]] -= 1
            if not waiting[owners[request]]:
                progress(1)

        answers = iter([_answer(output, sampling) for output in self._complete(requests, advance)])
        return [[next(answers) for _ in group] for group in seeds]

    def log_probs(
        self, sequences: Sequence[Sequence[int]], *, progress: Callable[[int], None] = lambda done: None
    ) -> list[list[float]]:
        """Natural log-probability of every token but the first of each sequence, given those before it."""
        from vllm import SamplingParams  # type: ignore[missing-import]

        measured = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        requests = [(list(ids), measured.clone()) for ids in sequences]
        outputs = self._complete(requests, lambda request: progress(1))
        return [
            [at[token].logprob for token, at in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]
            for ids, output in zip(sequences, outputs, strict=True)
        ]

    def _complete(
        self, requests: Sequence[tuple[list[int], Any]], advance: Callable[[int], None]
    ) -> list[Any]:
        """vLLM's output for each request; ``advance`` is told the number of each that is done."""
        engine = self.llm.llm_engine
        prompts = [{"prompt_token_ids": ids} for ids, _ in requests]
        names = self.llm.enqueue(prompts, [parameters for _, parameters in requests], use_tqdm=False)
        numbers = {name.partition("-")[0]: number for number, name in enumerate(names)}
        outputs: list[Any] = [None] * len(requests)
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished:
                        number = numbers[output.request_id]
                        outputs[number] = output
                        advance(number)
        except BaseException:
            engine.abort_request(names)
            raise
        return outputs


def _on_cpu(longest: int) -> dict[str, Any]:
    return {
        "enforce_eager": True,  # compiling takes longer than it saves
        # A prompt read in parts rewinds its row's random numbers, which generators of CPUs cannot.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(longest, _CPU_BATCH),
    }


def _end_the_one_before() -> None:
    while _open:
        _open.pop().llm_engine.engine_core.shutdown()
    gc.collect()  # else it would end, and the new one with it, when its reference cycles are found


def _parameters(sampling: Sampling, seed: Seed) -> Any:
    from vllm import SamplingParams  # type: ignore[missing-import]

    if 0 < sampling.temperature < LOWEST_TEMPERATURE:
        raise ModelError(
            f"engine vllm: temperature {sampling.temperature} is too low to draw with; take 0 (the most likely token) "
            f"or at least {LOWEST_TEMPERATURE}"
        )
    return SamplingParams(
        max_tokens=sampling.max_new_tokens,
        stop_token_ids=list(sampling.stop_ids),
        ignore_eos=True,  # the stop tokens are those of the template, and only they
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,
        seed=None if sampling.temperature == 0 else seed_number(seed),
        logprobs=0,
        detokenize=False,
    )


def seed_number(seed: Seed) -> int:
    """A seed of several parts as one number of 63 bits."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] >> 1)


def _answer(output: Any, sampling: Sampling) -> Answer:
    written = output.outputs[0]
    ids = list(written.token_ids)
    log_probs = [at[token].logprob for token, at in zip(ids, written.logprobs, strict=True)]
    if not all(map(math.isfinite, log_probs)):
        raise ModelError(NOT_FINITE)
    return Answer(ids, ids[-1] in sampling.stop_ids, log_probs)


def _cache_bytes(config: PretrainedConfig, dtype: torch.dtype | str, *, tokens: int) -> int:
    """What keys and values of so many tokens take, in whole blocks, one of which vLLM keeps empty."""
    text: Any = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    each = dtype.itemsize if isinstance(dtype, torch.dtype) else 2
    blocks = math.ceil(tokens / _BLOCK) + 1
    return 2 * text.num_hidden_layers * heads * width * each * blocks * _BLOCK
