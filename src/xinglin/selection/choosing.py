"""A selection from beginning to end: scores, what is protected, steps, and a random subset beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.data.splits import read_split
from xinglin.data.templates import load_template
from xinglin.runtime.artifact import sha256
from xinglin.runtime.fingerprint import fingerprint
from xinglin.runtime.progress import progress
from xinglin.selection import embeddings, scores, steps
from xinglin.selection.embeddings import EmbeddingConfig, Records
from xinglin.selection.geometry import Floats, Mask, Points
from xinglin.selection.ledger import Ledger, Scored
from xinglin.selection.pool import Pool, Size
from xinglin.selection.quotas import Groups, Quota, require, value_of
from xinglin.selection.safety import Floor
from xinglin.selection.scores import Context, Score, ScoreConfig, Unscored
from xinglin.selection.steps import StepConfig, TakeConfig

_VERSION = 1
"""Of what scores and embeddings compute; kept ones of another version count no more."""
_SPEED = {"label", "batch_tokens", "batch_size", "caps"}
"""Settings that change no score."""


class SplitFile(NamedTuple):
    """The split that is chosen from."""

    path: Path
    count: int
    lengths: Floats
    """(N,) of each record, in ``unit``."""
    unit: str


@dataclass(frozen=True)
class Rules:
    """How it is chosen."""

    scores: Sequence[ScoreConfig]
    steps: Sequence[StepConfig]
    embedding: EmbeddingConfig
    quotas: Sequence[Quota]
    floor: Floor
    fields: Sequence[str]
    """Whose shares are reported: ``source``, or keys of ``meta``; those of quotas among them."""


@dataclass(frozen=True)
class Workplace:
    """What it is chosen with."""

    context: Context
    identify: Callable[[str], str]
    """An input as the config names it -> what tells that model from any other."""
    stop_requested: Callable[[], bool]


@dataclass(frozen=True)
class Choice:
    """What came out."""

    pool: Pool
    scored: Mapping[str, Scored]
    protected: Mapping[int, str]
    """Record -> why no score may drop it."""
    groups: Mapping[str, Groups]
    chosen: Mask


def choose(split: SplitFile, rules: Rules, place: Workplace) -> Choice:
    """Score the split, protect what must stay, and take the steps.

    Raises:
        Interrupted: a stop was requested; scores of finished blocks are kept.
        DataError: quotas contradict each other or name what is not there.
    """
    groups, protected = _look_through(split, rules)
    require(rules.quotas, groups)
    scored = {each.title: _score(split, each, place) for each in rules.scores}
    mask = np.zeros(split.count, np.bool_)
    mask[list(protected)] = True
    pool = Pool(
        scores={title: found.values for title, found in scored.items()},
        protected=mask,
        tokens=split.lengths,
        groups=groups,
        quotas=rules.quotas,
        embed=cache(lambda: _embed(split, rules.embedding, place)),
        seed=place.context.seed,
    )
    for title in dict.fromkeys(title for step in rules.steps for title in step.titles):
        _drop_unscored(pool, title, scored[title].unscored)
    for step in rules.steps:
        plugins.load(steps.PACKAGE, step.name).apply(step, pool)
    return Choice(pool, scored, protected, groups, pool.chosen)


def _drop_unscored(pool: Pool, title: str, unscored: Mapping[int, Unscored]) -> None:
    for reason in dict.fromkeys(why.reason for why in unscored.values()):
        mask = np.zeros(len(pool.protected), np.bool_)
        mask[[index for index, why in unscored.items() if why.reason == reason]] = True
        pool.drop(mask, reason, lambda index: f"{title}: {unscored[index].detail}")


def random_subset(choice: Choice, rules: Rules) -> Mask:
    """(N,) as many records, or tokens, drawn from the whole split, under the same quotas, with the same protected
    ones: what the scores have to be better than. Where quotas left a part of the choice unfilled, their bounds are
    shares of what was asked for here too, else they would halve the subset again."""
    pool = replace(choice.pool, removals={}, taken=[], takes=True)
    mine = choice.chosen & ~pool.protected
    by_tokens = any(isinstance(step, TakeConfig) and step.tokens is not None for step in rules.steps)
    wanted = int((pool.tokens if by_tokens else np.ones(len(mine)))[mine].sum())
    asked = wanted + int(choice.pool.unfilled)
    order = np.random.default_rng([pool.seed, 1]).permutation(len(mine))
    if mine.any():
        room = pool.room(Size(tokens=asked) if by_tokens else Size(keep=asked))
        room.left = float(wanted)
        pool.fill(room, order.tolist)
    mask = pool.protected.copy()
    mask[pool.taken] = True
    return mask


def _score(split: SplitFile, config: ScoreConfig, place: Workplace) -> Scored:
    module = plugins.load(scores.PACKAGE, config.name)
    ledger = Ledger(place.context.cache / "scores" / f"{config.name}-{_key(config, place)}.jsonl")

    def open_score() -> Score:
        score: Score = module.open(config, place.context)
        return score

    with place.context.until_done:
        return ledger.score(
            read_split(split.path),
            split.count,
            open_score,
            label=f"scoring {config.title}",
            stop_requested=place.stop_requested,
        )


def _embed(split: SplitFile, config: EmbeddingConfig, place: Workplace) -> Points:
    path = place.context.cache / "embeddings" / f"{_key(config, place, sha256(split.path))}.npy"
    if not path.is_file():
        with progress(split.count, f"embedding {split.path.stem}") as bar:
            records = Records(lambda: read_split(split.path), split.count, bar.advance)
            points = plugins.load(embeddings.PACKAGE, config.name).embed(config, place.context, records)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp.npy")
        np.save(aside, points)
        aside.replace(path)
    found: Points = np.load(path)
    return found


def _key(config: Config, place: Workplace, *content: str) -> str:
    """Names what settings, model and content decide."""
    settings: dict[str, Any] = config.model_dump(mode="json", exclude=_SPEED)
    if settings.get("model") is not None:
        settings["model"] = place.identify(settings["model"])
    if settings.get("template"):
        settings["template"] = load_template(settings["template"])
    facts = {"version": _VERSION, "settings": settings, "content": content, "seed": place.context.seed}
    return fingerprint(facts)[:32]


def _look_through(split: SplitFile, rules: Rules) -> tuple[dict[str, Groups], dict[int, str]]:
    """The values of the fields, and which records are protected."""
    names: dict[str, dict[str, int]] = {field: {} for field in rules.fields}
    codes = {field: np.zeros(split.count, np.int64) for field in rules.fields}
    protected = {}
    with progress(split.count, f"looking through {split.path.stem}") as bar:
        for number, record in enumerate(read_split(split.path)):
            for field, known in names.items():
                codes[field][number] = known.setdefault(value_of(record, field), len(known))
            if reason := rules.floor.reason(record):
                protected[number] = reason
            bar.advance(1)
    return {field: Groups(list(known), codes[field]) for field, known in names.items()}, protected
