"""Ask a model and keep its answers as data: the best of several, best against worst, or all."""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from xinglin import engines, plugins
from xinglin.config.base import AnySplit, DataInput, ModelInput, StageConfig
from xinglin.config.marks import SplitFacts, Splits
from xinglin.config.parts import EngineName, Positive
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.prompts import Prompt, prompt_of
from xinglin.data.records import Kind, Record
from xinglin.data.sampled import Answer, Asked, LeftOut, Selection, Tally
from xinglin.data.templates import load_template
from xinglin.errors import DataError, Interrupted
from xinglin.evaluate.statistics import wilson_interval
from xinglin.rewards import Context, Sample, Scoring
from xinglin.runtime import atomic
from xinglin.runtime.artifact import Artifact, interval
from xinglin.runtime.progress import progress
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.stages._rewards import LIBRARY, Rewards

if TYPE_CHECKING:
    from xinglin.engines import Engine

__all__ = ["LIBRARY", "PRODUCES", "Config", "check", "check_records", "plan", "run", "sources"]

PRODUCES = "dataset"
BLOCK_PROMPTS = 32
"""Prompts asked, and kept, at a time."""


class Config(StageConfig):
    """Make a data set of a model's own answers to the prompts of another data set."""

    model: ModelInput = None
    """Who answers. Default: the nearest earlier stage that makes a model. A teacher may have a tokenizer of its own."""
    model_template: str | None = None
    """A packaged chat template to ask it with (``xinglin list templates``). Default: the one in its tokenizer."""
    data: DataInput = None
    """The data set that has the prompts. Default: the nearest earlier one."""
    splits: list[AnySplit] = Field(default=["train"], min_length=1)
    """Whose prompts are asked: conversations without their last answer, prompts of preferences, exam questions. The
    new data set has splits of the same names, held out where these are."""
    max_prompts: Positive | None = None
    """Ask at most this many of each split, drawn at random with the recipe's seed. Default: all."""

    answers: Positive = 4
    """Answers to each prompt."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of the sampling; 0 always takes the most likely token."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Sample from the most likely tokens that together have this probability."""
    max_new_tokens: Positive = 512
    """An answer is cut after this many tokens, and then never used."""

    rewards: Rewards = Field(default=[])
    """What makes an answer good: a list of ``name``, ``weight`` and options each (``xinglin list rewards``)."""
    reward_low: float = -10.0
    """The sum of the rewards is clipped to at least this, which is also what a veto gives."""
    reward_high: float = 10.0
    """And to at most this."""
    keep: Literal["best", "pairs", "all"] = "best"
    """``best``: conversations with the best answer, for SFT (rejection sampling). ``pairs``: preferences of the best
    over the worst answer. ``all``: conversations with every answer (with ``answers: 1``, a teacher's text)."""
    min_reward: float | None = None
    """Answers with less are neither kept nor chosen."""
    min_margin: Annotated[float, Field(ge=0)] = 0.1
    """How much more reward the best answer of a pair has, at least."""

    max_tokens: Positive = 1024
    """Longest sequence of the token shards that are made here; a stage with another limit makes its own."""
    over_length: Literal["error", "drop", "truncate_history", "split"] = "split"
    """What happens to longer ones."""
    engine: EngineName = "transformers"
    """What answers: ``transformers``, or ``vllm`` where it is installed (docs/evaluation.md)."""
    batch_tokens: Positive = 16384
    """Bounds answers x (prompt + max_new_tokens) of a generated batch; with ``vllm`` the tokens that its key-value
    cache has room for. Changes speed and memory."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.keep != "all" and not self.rewards:
            raise ValueError(f"keep: {self.keep} needs rewards to choose by; list some, or set keep: all")
        if self.keep == "pairs" and self.answers < 2:
            raise ValueError("keep: pairs needs at least 2 answers to each prompt")
        if self.answers > 1 and self.temperature == 0:
            raise ValueError(
                "with temperature 0 all answers to a prompt are equal; raise it, or set answers: 1"
            )
        if self.min_reward is not None and not self.rewards:
            raise ValueError("min_reward needs rewards; list some")
        if self.reward_low >= self.reward_high:
            raise ValueError("reward_low is not below reward_high")
        return self


def check(config: Config, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse an engine that is not installed."""
    engines.require(config.engine)


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits that ask nothing, and several kinds."""
    kinds = {name: records[name] for name in config.splits if name in records}
    if len(set(kinds.values())) > 1:
        held = " and ".join(sorted(set(kinds.values())))
        raise DataError(f"the splits hold {held} records; sample each kind in a stage of its own")
    if "document" in kinds.values():
        raise DataError(
            f"split '{config.splits[0]}' holds documents, which ask nothing; name one with prompts"
        )


def splits(config: Config, given: Splits) -> dict[str, SplitFacts]:
    """Those that are asked, held out where they were."""
    kind = _made(config)
    return {name: SplitFacts(given[name].held_out, kind) for name in config.splits if name in given}


def sources(config: Config) -> dict[str, str]:
    """The packaged template, if the config names one; an unknown name is refused."""
    return {"model_template": load_template(config.model_template)} if config.model_template else {}


def plan(config: Config, run: StageRun) -> dict[str, str]:
    """How much there is to ask, for ``--dry-run``."""
    data = run.inputs.get(str(config.data))
    if not isinstance(data, Artifact):
        return {}
    counts = [data.details["splits"][name]["records"] for name in config.splits]
    prompts = sum(min(count, config.max_prompts or count) for count in counts)
    return {"asks": f"{prompts:,} prompts, {config.answers} answers each"}


def run(config: Config, run: StageRun) -> Outcome:
    """A model and prompts in; a data set of its answers out, with every prompt accounted for."""
    from xinglin.data import card
    from xinglin.data.dataset import TOKENIZER, tokenise_splits
    from xinglin.models.tokenizer import load_tokenizer

    data = run.artifact(str(config.data))
    context = Context(_kind(config, data), locate=run.model)
    scoring = Scoring(config.rewards, context, low=config.reward_low, high=config.reward_high)
    engine = cache(lambda: _load(config, run, data))
    splits: dict[str, dict[str, Any]] = {}
    tallies: dict[str, Tally] = {}
    (run.out / "quarantine.jsonl").unlink(missing_ok=True)
    with Quarantine(run.out / "quarantine.jsonl") as quarantine:
        for name in config.splits:
            prompts = _Prompts.of(config, run, data, name)
            _ask(prompts, config, run, engine, scoring)
            splits[name], tallies[name] = _select(prompts, config, run, data, quarantine)
    shutil.copytree(data.folder / TOKENIZER, run.out / TOKENIZER, dirs_exist_ok=True)
    tokenizer = load_tokenizer(str(run.out / TOKENIZER))
    tokenise_splits(run.out, tokenizer, splits, max_tokens=config.max_tokens, policy=config.over_length)
    details = {"splits": splits, "tokenizer": data.details["tokenizer"]}
    sampled = {name: tally.to_json() for name, tally in tallies.items()}
    card.write(run.out, details)
    return Outcome(PRODUCES, _metrics(list(tallies.values()), config), details | {"sample": sampled})


@dataclass(frozen=True)
class _Prompts:
    """The records of a split that are asked, and the file that keeps the answers of an unfinished stage."""

    split: str
    path: Path
    rows: range | list[int]
    """Lines of the split's file, from 0, in order."""
    ledger: Path

    @classmethod
    def of(cls, config: Config, run: StageRun, data: Artifact, split: str) -> Self:
        from xinglin.data.splits import split_file

        path, count = split_file(data, split), data.details["splits"][split]["records"]
        rows: range | list[int] = range(count)
        if config.max_prompts is not None and config.max_prompts < count:
            drawn = np.random.default_rng(run.seed).choice(count, config.max_prompts, replace=False)
            rows = sorted(drawn.tolist())
        return cls(split, path, rows, run.scratch / f"{split}.jsonl")

    def records(self, *, start: int = 0) -> Iterator[tuple[int, Record]]:
        """(row, record) from number ``start`` on."""
        from xinglin.data.splits import read_split

        wanted = set(self.rows[start:])
        return ((row, record) for row, record in enumerate(read_split(self.path)) if row in wanted)

    def asked(self) -> Iterator[Asked]:
        with self.ledger.open(encoding="utf-8") as file:
            yield from (Asked.from_json(json.loads(line)) for line in file)

    def done(self) -> int:
        """How many were asked already, in whole blocks; what a crash left after them is cut off the file."""
        if not self.ledger.exists():
            return 0
        lines = [line for line in self.ledger.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if len(lines) < len(self.rows):
            lines = lines[: len(lines) // BLOCK_PROMPTS * BLOCK_PROMPTS]
        atomic.write_bytes(self.ledger, b"".join(lines))
        return len(lines)


def _kind(config: Config, data: Artifact) -> Kind:
    """The kind of record that all splits hold.

    Raises:
        DataError: no such split, documents, or several kinds.
    """
    splits = data.details["splits"]
    if unknown := [name for name in config.splits if name not in splits]:
        raise DataError(
            f"{data.folder}: no split '{unknown[0]}'; {plugins.nearest(unknown[0], list(splits))}"
        )
    check_records(config, {name: split["record"] for name, split in splits.items()})
    kind: Kind = splits[config.splits[0]]["record"]
    return kind


def _made(config: Config) -> Kind:
    """The kind of record that it makes."""
    return "preference" if config.keep == "pairs" else "conversation"


def _load(config: Config, run: StageRun, data: Artifact) -> "Engine":
    engine: Engine = plugins.load(engines.PACKAGE, config.engine).load(
        run.model(str(config.model)),
        batch_tokens=config.batch_tokens,
        tokenizer_folder=data.folder / "tokenizer",
        template=config.model_template,
        seed=run.seed,
        trust_remote_code=config.trust_remote_code,
    )
    return engine


def _ask(
    prompts: _Prompts,
    config: Config,
    run: StageRun,
    engine: Callable[[], "Engine"],
    scoring: Scoring,
) -> None:
    """Ask all that was not asked yet, block by block; an interrupted stage forms the same blocks.

    Raises:
        Interrupted: a stop was requested; finished blocks are kept.
    """
    done = prompts.done()
    records = prompts.records(start=done)
    with progress(len(prompts.rows), f"sampling {prompts.split}") as bar:
        bar.advance(done)
        while block := list(islice(records, BLOCK_PROMPTS)):
            if run.stop_requested():
                raise Interrupted
            asked = _ask_block(
                block, config, [run.seed, zlib.crc32(prompts.split.encode())], engine(), scoring
            )
            with prompts.ledger.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in asked)
                file.flush()
                os.fsync(file.fileno())
            bar.advance(len(block))


def _ask_block(
    block: list[tuple[int, Record]],
    config: Config,
    seed: list[int],
    engine: "Engine",
    scoring: Scoring,
) -> list[Asked]:
    """The answers to the records of a block; each answer is decided by the seed, its row and its number."""
    asked: dict[int, Prompt] = {}
    found: dict[int, Asked] = {}
    for row, record in block:
        try:
            asked[row] = _checked(record, engine, config.max_new_tokens)
        except LeftOut as left_out:
            found[row] = Asked(row, (), *left_out.args)
    generated = engine.sample(
        [prompt.messages for prompt in asked.values()],
        [[[*seed, row, number] for number in range(config.answers)] for row in asked],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
    )
    samples = [
        Sample(prompt.messages, answer.text, answer.finish, answer.tokens, prompt.meta)
        for prompt, answers in zip(asked.values(), generated, strict=True)
        for answer in answers
    ]
    scored = scoring(samples)
    answers = (
        Answer(
            s.answer,
            s.finish,
            s.tokens,
            total,
            {name: scores[i] for name, scores in scored.components.items()},
        )
        for i, (s, total) in enumerate(zip(samples, scored.totals, strict=True))
    )
    found |= {row: Asked(row, tuple(islice(answers, config.answers))) for row in asked}
    return [found[row] for row, _ in block]


def _checked(record: Record, engine: "Engine", max_new_tokens: int) -> Prompt:
    """What to ask about a record.

    Raises:
        LeftOut: nothing, or more than the model can take.
    """
    try:
        prompt = prompt_of(record)
    except DataError as error:
        raise LeftOut("not_askable", str(error)) from None
    try:
        tokens = len(engine.renderer.prompt_ids(prompt.messages))
    except DataError as error:
        raise LeftOut("not_renderable", str(error)) from None
    if tokens + max_new_tokens > engine.context_tokens:
        window = f"{tokens} tokens and {max_new_tokens} new ones exceed the window of {engine.context_tokens}"
        raise LeftOut("too_long", window)
    return prompt


def _select(
    prompts: _Prompts, config: Config, run: StageRun, data: Artifact, quarantine: Quarantine
) -> tuple[dict[str, Any], Tally]:
    """Write ``<split>.jsonl``; returns its details, and what the answers were like.

    Raises:
        DataError: no prompt gave a record.
    """
    from xinglin.data.dataset import describe_split

    selection = Selection(config.keep, config.min_reward, config.min_margin)
    account, tally = SourceAccount(), Tally()
    with (run.out / f"{prompts.split}.jsonl").open("w", encoding="utf-8") as file:
        for asked, (row, record) in zip(prompts.asked(), prompts.records(), strict=True):
            tally.add(asked)
            try:
                made = selection.records(asked, record, model=str(config.model))
            except LeftOut as left_out:
                reason, detail = left_out.args
                account.reject(reason, f"{prompts.split}:{row + 1}: {detail}")
                raw = record.to_json()
                quarantine.add(file=prompts.path.name, row=row + 1, reason=reason, detail=detail, raw=raw)
                continue
            account.use(format="sample", records=len(made))
            file.writelines(json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in made)
    if not account.records:
        why = "; ".join(
            f"{n} {reason}, such as {account.examples[reason]}" for reason, n in account.reasons.items()
        )
        raise DataError(f"split '{prompts.split}': no prompt gave a record ({why}); {_cure(account, config)}")
    source = {"path": f"{config.data} {prompts.split}", "licence": None, **account.to_json()}
    tally.used = account.rows_used
    held_out = bool(data.details["splits"][prompts.split].get("held_out"))
    return describe_split(_made(config), records=account.records, held_out=held_out, sources=[source]), tally


def _cure(account: SourceAccount, config: Config) -> str:
    reason = account.reasons.most_common(1)[0][0]
    return {
        "tie": "lower min_margin, or ask for more answers",
        "below_threshold": "lower min_reward, or ask for more answers",
        "unfinished": f"raise max_new_tokens ({config.max_new_tokens}), or train the model first",
        "too_long": "shorten the prompts, or lower max_new_tokens",
    }.get(reason, "name another split")


def _metrics(tallies: list[Tally], config: Config) -> dict[str, dict[str, float | None]]:
    used, asked = (sum(getattr(tally, what) for tally in tallies) for what in ("used", "prompts"))
    metrics = {"sample.used": interval(used / asked, *wilson_interval(used, trials=asked))}
    if config.rewards:
        for name in ("mean", "best"):
            values = np.concatenate([getattr(tally, name) for tally in tallies])
            middle, error = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
            metrics[f"sample.{name}_reward"] = interval(middle, middle - error, middle + error)
    return metrics
