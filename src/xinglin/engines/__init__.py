"""Engines generate text and measure its likelihood; ``engine: vllm`` is ``vllm.py``, and needs the package vllm.

An engine module is named after the package that it needs and has
    load(spec, *, batch_tokens, tokenizer_folder, template, seed, trust_remote_code) -> Engine
               from anything that ``models.load`` takes, with the template of that name or the model's own; raises
               ModelError if there is nothing loadable

A conversation is a sequence of messages that ends on a user message; the engine renders it with the
model's own chat template. Answers come back in the order of the requests, however they are batched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

from xinglin.data.records import Message
from xinglin.errors import ModelError

if TYPE_CHECKING:
    from xinglin.data.rendering import Renderer

PACKAGE = "xinglin.engines"
Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Generation:
    """An answer: its text without special tokens, why it ended, and how many tokens were generated."""

    text: str
    finish: Finish
    """``length``: the answer was cut at ``max_new_tokens``."""
    tokens: int
    left_out: int = 0
    """Oldest exchanges of the conversation that the model did not see, because its window was full."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Natural log-probability of an answer's text, the end-of-turn token not included."""

    total: float
    tokens: int


class Engine(Protocol):
    """Answers conversations with one model. ``progress`` is told how many more requests are done."""

    @property
    def renderer(self) -> "Renderer":
        """What makes its prompts."""
        ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt and answer together that the model takes."""
        ...

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        """One answer per conversation; ``temperature`` 0 is greedy and ignores ``seed``."""
        ...

    def sample(
        self,
        conversations: Sequence[Sequence[Message]],
        seeds: Sequence[Sequence[Sequence[int]]],
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Generation]]:
        """The answers to each conversation, one for each of its seeds, which decide them."""
        ...

    def log_likelihoods(
        self,
        requests: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """One likelihood per (conversation, answer text)."""
        ...


def require(engine: str) -> None:
    """
    Raises:
        ModelError: the package that ``engine`` needs is not installed.
    """
    if find_spec(engine) is None:
        raise ModelError(
            f"engine {engine}: the package {engine} is not installed; install it (docs/evaluation.md says how), or "
            "set engine: transformers"
        )


def version(engine: str) -> str:
    """Of the package that ``engine`` needs, whatever the distribution that brought it is called."""
    return metadata.version(metadata.packages_distributions()[engine][0])
