"""Scores: one number that says what a record is worth learning from, or how hard it is. One file each.

A score ``NAME.py`` has

    Config     its options, with ``name: Literal["NAME"]``: a ``ScoreConfig``; a ``ReaderConfig`` for one that
               reads answers with a language model
    RECORDS    the kinds of record that it can score
    open(config: Config, context: Context) -> Score
               loads what it needs; called only if a record has no kept score yet

A score is kept by model, settings and what the record says, so it is a pure function of those. ``None`` says that it
does not apply to a record (no answer key); ``Unscored`` that the record cannot be read, and then the record is not
chosen unless it is protected.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from xinglin.config.base import Config, ModelInput
from xinglin.data.records import Record

if TYPE_CHECKING:
    from xinglin.engines.transformers import TransformersEngine
    from xinglin.selection.reading import Reader

PACKAGE = "xinglin.selection.scores"
BATCH_TOKENS = 8192


class Unscored(NamedTuple):
    """Why a record cannot be scored."""

    reason: str
    """One stable word."""
    detail: str


class Turn(NamedTuple):
    """An answer as a language model sees it."""

    loss: float
    """Negative log-likelihood of its tokens, in nats, given all that came before."""
    alone: float | None
    """The same given an empty question; None where that was not asked for."""
    tokens: int


Value = float | None | Unscored
Score = Callable[[Sequence[Record]], list[Value]]
"""One value per record, in order."""


class ScoreConfig(Config):
    """What every score has."""

    name: str
    """Which score: a file in ``selection/scores/``."""
    label: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    """What steps and the report call it. Default: ``name``; needed where one score is there twice."""

    @property
    def title(self) -> str:
        return self.label or self.name


class Reads(Config):
    """Settings of a language model that reads records."""

    model: ModelInput = None
    """Whose opinion: any causal language model, with its own tokenizer. Default: the nearest earlier stage that makes
    one, else the recipe's."""
    template: str | None = None
    """A packaged chat template to read them with. Default: the one in the model's tokenizer."""
    batch_tokens: int = Field(default=BATCH_TOKENS, gt=0)
    """Tokens of one forward pass. Changes speed and memory."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""


class ReaderConfig(ScoreConfig, Reads):
    """What every score has that reads answers with a language model."""

    turns: Literal["together", "highest"] = "together"
    """Of several answers: all their tokens together, or the answer with the highest score."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Longer records are not scored. Default: what the model can take."""


@dataclass
class Context:
    """What scores and embeddings are opened with."""

    locate: Callable[[str], str]
    """Input as the config names it -> folder or id to load: ``StageRun.model``."""
    tokenizer_folder: Path
    """Where a ``tiny:`` model takes its tokenizer from."""
    seed: int
    cache: Path
    """What is kept between runs."""
    scratch: Path
    """What is kept until the stage is finished."""
    until_done: ExitStack = field(default_factory=ExitStack)
    """Closes what a score has opened, once all records have it."""
    _engine: tuple[Any, "TransformersEngine"] | None = field(default=None, repr=False)

    def engine(self, config: Reads) -> "TransformersEngine":
        """A language model; the one that was asked for last is still there."""
        from xinglin.engines.transformers import TransformersEngine

        wanted = (config.model, config.template, config.batch_tokens, config.trust_remote_code)
        if self._engine is None or self._engine[0] != wanted:
            self._engine = None
            engine = TransformersEngine.load(
                self.locate(str(config.model)),
                batch_tokens=config.batch_tokens,
                tokenizer_folder=self.tokenizer_folder,
                template=config.template,
                seed=self.seed,
                trust_remote_code=config.trust_remote_code,
            )
            self._engine = wanted, engine
        return self._engine[1]

    def reader(self, config: Reads, *, max_tokens: int | None = None) -> "Reader":
        """What reads answers with a language model."""
        from xinglin.selection.reading import Reader

        engine = self.engine(config)
        return Reader(engine.model, engine.renderer, batch_tokens=config.batch_tokens, max_tokens=max_tokens)


def by_turns(
    config: ReaderConfig, context: Context, value: Callable[[Turn], float], *, alone: bool = False
) -> Score:
    """A score that is a function of losses and tokens, of all answers together or of the worst of them."""
    reader = context.reader(config, max_tokens=config.max_tokens)

    def score(records: Sequence[Record]) -> list[Value]:
        return [
            turns if isinstance(turns, Unscored) else _joined(turns, config, value)
            for turns in reader.turns(records, alone=alone)
        ]

    return score


def _joined(turns: list[Turn], config: ReaderConfig, value: Callable[[Turn], float]) -> float:
    if config.turns == "highest":
        return max(map(value, turns))
    alone = None if turns[0].alone is None else sum(turn.alone or 0.0 for turn in turns)
    return value(Turn(sum(turn.loss for turn in turns), alone, sum(turn.tokens for turn in turns)))
