"""The words of an evaluation: what a benchmark asks, what comes back, and what it makes of that."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import Field

from xinglin import plugins
from xinglin.config.base import AnySplit, Config
from xinglin.config.parts import Positive
from xinglin.data.records import Message, Record, kind_of
from xinglin.engines import Generation, Likelihood
from xinglin.errors import DataError

PACKAGE = "xinglin.evaluate.benchmarks"

Output = Generation | tuple[Likelihood, ...]
"""A free answer, or the likelihood of each choice."""


class BenchmarkConfig(Config):
    """What every benchmark has."""

    name: str
    """Which benchmark: a file in ``evaluate/benchmarks/``."""
    label: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    """Begins the names of its metrics. Default: ``name``; needed where one benchmark runs on two splits."""
    split: AnySplit
    """The split of the data set whose records are asked."""
    max_samples: Positive | None = None
    """Ask at most this many, drawn at random with the recipe's seed. Default: all."""
    max_new_tokens: Positive = 256
    """Longest free answer in tokens; longer ones are cut and counted as truncated."""

    @property
    def title(self) -> str:
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to ask a model: a free answer to ``prompt``, or the likelihoods of ``choices`` as answers to it.
    All items of a task are of the same sort."""

    prompt: tuple[Message, ...]
    reference: str
    """The right answer as a reader should see it."""
    record: Record
    choices: tuple[str, ...] = ()
    chance: float | None = None
    """The share of right answers that blind guessing gives, where there is such a thing."""
    id: str = ""
    """``split:line``, with ``.turn`` for one of several items of a record. Given by ``build_task``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one answer did."""

    prediction: str
    """What was scored, as a reader should see it."""
    correct: bool | float
    """One number for the reader: right or wrong, or the closeness of a free answer."""
    scores: Mapping[str, bool | float]
    """Metric -> value of this answer. A metric is the mean of its scores over the samples that have it:
    a share where they are booleans."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An item, the answer to it and its verdict: one row of a samples file."""

    item: Item
    output: Output
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.item.id,
            "origin": str(self.item.record.origin),
            "prompt": [{"role": message.role, "content": message.content} for message in self.item.prompt],
            "reference": self.item.reference,
            "prediction": self.verdict.prediction,
            "correct": self.verdict.correct,
            "scores": dict(self.verdict.scores),
            **output_to_json(self.output),
        }


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark and all that it asks."""

    benchmark: ModuleType
    config: BenchmarkConfig
    items: tuple[Item, ...]

    @property
    def free(self) -> bool:
        """Whether free answers are asked for, or likelihoods."""
        return not self.items[0].choices

    @property
    def num_requests(self) -> int:
        return sum(map(num_requests, self.items))

    @property
    def title(self) -> str:
        return self.config.title


def build_task(config: BenchmarkConfig, records: Iterable[Record], *, seed: int) -> Task:
    """The items that a benchmark makes of a split.

    Raises:
        DataError: the split is empty, or a record is of another kind or lacks what the benchmark needs.
    """
    benchmark = plugins.load(PACKAGE, config.name)
    items: list[Item] = []
    for line, record in enumerate(records, 1):
        if kind_of(record) != benchmark.RECORD:
            raise DataError(
                f"split '{config.split}', line {line}: a {kind_of(record)}, but benchmark '{config.name}' takes "
                f"{benchmark.RECORD}s; name another split or benchmark"
            )
        asked = benchmark.items(record, config)
        turns = [""] if len(asked) == 1 else [f".{turn}" for turn in range(1, len(asked) + 1)]
        named = f"{config.split}:{line}"
        items += (replace(item, id=named + turn) for item, turn in zip(asked, turns, strict=True))
    if not items:
        raise DataError(
            f"split '{config.split}' has no records, so benchmark '{config.name}' has nothing to ask"
        )
    if config.max_samples is not None and config.max_samples < len(items):
        drawn = np.random.default_rng(seed).choice(len(items), size=config.max_samples, replace=False)
        items = [items[index] for index in sorted(drawn)]
    return Task(benchmark, config, tuple(items))


def num_requests(item: Item) -> int:
    """How often an engine is asked for one item."""
    return max(1, len(item.choices))


def record_error(record: Record, problem: str) -> DataError:
    """A record that a benchmark cannot ask, with its place."""
    return DataError(f"{record.origin}: {problem}")


def text_of(messages: Sequence[Message]) -> str:
    """A conversation as a reader should see it: a lone message as it is, several with their roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in messages)


def output_to_json(output: Output) -> dict[str, Any]:
    if isinstance(output, Generation):
        return asdict(output)
    return {"likelihoods": [[each.total, each.tokens] for each in output]}


def output_from_json(row: Mapping[str, Any]) -> Output:
    if "likelihoods" in row:
        return tuple(Likelihood(total, tokens) for total, tokens in row["likelihoods"])
    return Generation(row["text"], row["finish"], row["tokens"], row["left_out"])
