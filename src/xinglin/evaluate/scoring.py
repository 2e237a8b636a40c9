"""Score every answer of a file with a reward model, a batch of rows at a time."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xinglin import plugins
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.records import Conversation, Message, Preference, Record, kind_of
from xinglin.data.sources import FORMATS, Source, files, read
from xinglin.errors import DataError, ModelError, RunError
from xinglin.evaluate.preferences import judge_pairs
from xinglin.runtime.artifact import FILE, Artifact
from xinglin.runtime.progress import progress

BATCH = 512
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}

Request = tuple[Sequence[Message], str]
Row = dict[str, Any]
Write = Callable[[Row], Any]


class Scorer(Protocol):
    """What is needed of ``models.reward.RewardModel``."""

    def score(self, requests: Sequence[Request], *, normalise: bool = False) -> list[float]: ...


@dataclass
class Scores:
    """What was found, answer by answer."""

    answers: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    """In characters."""
    sources: list[str] = field(default_factory=list)
    """The file of each row."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows without a score, by reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first of each reason."""

    def summary(self) -> Row:
        """As plain data: counts, quantiles and, for pairs, how well they are told apart."""
        if not self.answers:
            raise DataError(f"no answer could be scored; {'; '.join(self.examples.values())}")
        values = np.array(self.answers)
        found: Row = {
            "rows": len(self.sources),
            "left_out": dict(self.left_out),
            "examples": self.examples,
            "mean": float(values.mean()),
            "std": float(values.std()),
            **{name: float(np.quantile(values, share)) for name, share in QUANTILES.items()},
        }
        if len(self.answers) == 2 * len(self.sources):
            lengths = np.array(self.lengths).reshape(-1, 2)
            found["pairs"] = judge_pairs(values.reshape(-1, 2), lengths=lengths, sources=self.sources, seed=0)
        return found


def find_reward_model(path: str | Path) -> str:
    """The reward model of a folder, a finished stage, a run (its last one) or a ``hub:`` id.

    Raises:
        ModelError: no such folder, or an artifact of another kind.
        RunError: a run without a finished reward model.
    """
    folder = Path(path)
    if str(path).startswith("hub:"):
        return str(path)
    if not folder.is_dir():
        raise ModelError(
            f"{path}: no such folder; give a reward stage's folder, a model folder or hub:ORG/NAME"
        )
    if (folder / FILE).is_file():
        artifact = Artifact.load(folder)
        if artifact.kind != "reward_model":
            raise ModelError(
                f"{folder}: stage '{artifact.stage}' made no reward model but: {artifact.kind}; give one"
            )
        return str(folder)
    if (folder / "stages").is_dir():
        made = [Artifact.load(file.parent) for file in (folder / "stages").glob(f"*/{FILE}")]
        rewards = [artifact for artifact in made if artifact.kind == "reward_model"]
        if not rewards:
            raise RunError(f"{folder}: no finished reward model in this run; add a stage of kind reward")
        return str(max(rewards, key=lambda artifact: artifact.finished).folder)
    return str(folder)


@contextmanager
def json_lines(target: Path) -> Iterator[Write]:
    """Takes rows; ``target`` appears, or is replaced, when all are written. Pipes and devices get them at once.

    Raises:
        RunError: nothing can be written there.
    """
    direct = target.exists() and not target.is_file()
    aside = target if direct else target.with_name(f"{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = aside.open("w", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{target}: cannot be written ({error.strerror}); name another file") from None
    try:
        with file:
            yield lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if not direct:
            aside.replace(target)
    finally:
        if not direct:
            aside.unlink(missing_ok=True)


def score(
    path: str, *, model: str | Path, write: Write, format: str | None = None, normalise: bool = False
) -> Row:
    """Load a reward model, score a file with it, and sum up; see ``score_file`` and ``Scores.summary``.

    Raises:
        PluginError: there is no such format.
    """
    from xinglin.models.reward import RewardModel

    if format is not None:
        plugins.load(FORMATS, format)
    source = Source(path=path, format=format)
    files(source)  # a wrong path is refused before the model is loaded
    scorer = RewardModel.load(find_reward_model(model))
    with progress(None, "scoring") as bar:
        scores = score_file(source, scorer, write=write, normalise=normalise, advance=bar.advance)
    return scores.summary()


def score_file(
    source: Source,
    model: Scorer,
    *,
    write: Write,
    normalise: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Scores:
    """Score the last answer of each conversation, or both answers of each preference.

    Args:
        write: takes each row with ``score``; a preference's with ``scores`` and ``margin``.
        normalise: see ``RewardModel.score``.

    Raises:
        DataError: the file holds no answers, or none that can be used.
    """
    scores, account = Scores(), SourceAccount()
    with Quarantine(Path(os.devnull)) as quarantine:  # counted, and one example of each reason shown
        records = read(source, kind=None, account=account, quarantine=quarantine)
        while chunk := list(islice(records, BATCH)):
            for record, values in _scored(chunk, model, scores, normalise):
                scores.answers += values
                scores.lengths += [len(answer) for _, answer in _requests(record)]
                scores.sources.append(record.origin.file)
                write({**record.to_json(), **_fields(values)})
            advance(len(chunk))
    scores.left_out.update(account.reasons)
    scores.examples |= account.examples
    return scores


def _requests(record: Record) -> list[Request]:
    match record:
        case Preference(uses_tools=False):
            return [(record.prompt, record.chosen), (record.prompt, record.rejected)]
        case Conversation(tools=()):
            return [(record.messages[:-1], record.messages[-1].content)]
        case Conversation() | Preference():
            raise DataError(f"{record.origin}: reward models here do not know tools")
    raise DataError(
        f"{record.origin}: a {kind_of(record)} has no answer to score; give conversations or preferences"
    )


def _scored(
    chunk: list[Record], model: Scorer, scores: Scores, normalise: bool
) -> Iterator[tuple[Record, list[float]]]:
    """Each record with the scores of its answers; what cannot be scored is counted in ``scores``."""
    if not isinstance(chunk[0], Conversation | Preference):
        _requests(chunk[0])
    try:
        requests = [_requests(record) for record in chunk]
        found = iter(model.score([each for group in requests for each in group], normalise=normalise))
        yield from [
            (record, [next(found) for _ in group]) for record, group in zip(chunk, requests, strict=True)
        ]
    except DataError as error:
        if len(chunk) > 1:
            for record in chunk:
                yield from _scored([record], model, scores, normalise)
        else:
            scores.left_out["not_scorable"] += 1
            scores.examples.setdefault("not_scorable", f"{chunk[0].origin}: {error}")


def _fields(values: list[float]) -> Row:
    if len(values) == 1:
        return {"score": values[0]}
    chosen, rejected = values
    return {"scores": {"chosen": chosen, "rejected": rejected}, "margin": chosen - rejected}
