"""Choose what is worth training on: by scores, coverage and quotas, beside a random subset of equal size."""

import shutil
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import Field, TypeAdapter, model_validator

from xinglin import plugins
from xinglin.config.base import DataInput, StageConfig, TrainingSplit
from xinglin.config.marks import SplitFacts, Splits
from xinglin.data.templates import load_template
from xinglin.errors import DataError
from xinglin.report.selection import plot
from xinglin.runtime.artifact import Artifact, interval
from xinglin.runtime.fingerprint import fingerprint, hash_model
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.selection import embeddings, presets, scores, steps
from xinglin.selection.embeddings import EmbeddingConfig
from xinglin.selection.pool import STEP, Size
from xinglin.selection.quotas import SOURCE, Quota
from xinglin.selection.safety import Floor
from xinglin.selection.scores import Context, ScoreConfig
from xinglin.selection.steps import Keep, StepConfig, TakeConfig

if TYPE_CHECKING:
    from xinglin.selection.choosing import Choice, Rules, Workplace

    Score, Step, Embedding = ScoreConfig, StepConfig, EmbeddingConfig
else:

    def _any_of(package: str) -> Any:
        configs = tuple(plugins.load(package, name).Config for name in plugins.names(package))
        return Annotated[Union[configs], Field(discriminator="name")]  # noqa: UP007

    Score, Step, Embedding = (_any_of(each.PACKAGE) for each in (scores, steps, embeddings))

PRODUCES = "dataset"
LIBRARY = ("endpoint", "engines", "evaluate", "rewards", "selection")
DEPARTMENT = "department"
PLOT = "scores.png"
RANDOM = "_random"
"""What is added to the name of the split that random records are in."""


class Config(StageConfig):
    """Choose records of a split to train on; the other splits come along as they are."""

    data: DataInput = None
    """The data set. Default: the nearest earlier one."""
    split: TrainingSplit = "train"
    """The split to choose from. In the new data set it holds what was chosen."""
    method: presets.Method | None = None
    """A published method, with ``keep`` or ``tokens``: ``ifd``, ``superfilter``, ``mods``, ``car``, ``deita``; what it
    stands for is in docs/selection.md. Its scores take the settings of those under ``scores``."""
    keep: Keep | None = None
    """How many records ``method`` chooses beside the protected ones: a share of the others, or a number."""
    tokens: Annotated[int, Field(gt=0)] | None = None
    """The same in tokens."""
    scores: list[Score] = Field(default=[])
    """What records are scored by: a ``name`` and options each (``xinglin list scores``)."""
    steps: list[Step] = Field(default=[])
    """Instead of ``method``: what drops and what takes records, in order (``xinglin list steps``)."""
    embedding: Embedding = Field(default_factory=lambda: plugins.load(embeddings.PACKAGE, "tfidf").Config())
    """Where records lie, for steps that cover or compare (``xinglin list embeddings``)."""
    quotas: list[Quota] = Field(default=[])
    """Least and greatest shares of departments, sources or any field of ``meta``, among all that is chosen."""
    protect: Floor = Floor()
    """Records that are chosen whatever their scores are."""
    compare: Literal["none", "random"] = "none"
    """``random``: also make a split ``<split>_random`` of equal size, drawn at random under the same quotas and with
    the same protected records, to train on and to compare with."""

    @model_validator(mode="before")
    @classmethod
    def _scores_of_the_method(cls, data: Any) -> Any:
        """The scores that a method needs, where the recipe does not list them."""
        if not isinstance(data, dict) or data.get("method") not in presets.SCORES:
            return data
        listed = data.get("scores") or []
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            return data
        titles = {each.get("label") or each.get("name") for each in listed}
        missing = [{"name": name} for name in presets.SCORES[data["method"]] if name not in titles]
        return data | {"scores": [*listed, *missing]}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        sizes = [size for size in (self.keep, self.tokens) if size is not None]
        if (self.method is None) == (not self.steps):
            raise ValueError("needs one of method and steps; give one")
        if len(sizes) != (self.method is not None):
            raise ValueError("method needs one of keep and tokens, and steps have their own")
        twice = [title for title, n in Counter(score.title for score in self.scores).items() if n > 1]
        if twice:
            raise ValueError(f"score '{twice[0]}' is there twice; give one a label")
        titles = [score.title for score in self.scores]
        for title in (title for step in self.applied for title in step.titles):
            if title not in titles:
                known = plugins.nearest(title, titles) if titles else "list it under scores"
                raise ValueError(f"no score '{title}'; {known}")
        if self.quotas and not any(isinstance(step, TakeConfig) for step in self.applied):
            raise ValueError("quotas hold for what steps take, and no step takes; add one, such as top")
        return self

    @property
    def tokens_counted(self) -> bool:
        """Whether a step has its size in tokens."""
        return any(isinstance(step, TakeConfig) and step.tokens is not None for step in self.applied)

    @property
    def applied(self) -> list[StepConfig]:
        """The steps that are taken."""
        if self.method is None:
            return self.steps
        rows = presets.steps_of(self.method, Size(self.keep, self.tokens))
        return TypeAdapter(list[Step]).validate_python(rows)


def splits(config: Config, given: Splits) -> dict[str, SplitFacts]:
    """Those of its data, and the random one."""
    if config.compare == "none" or config.split not in given:
        return dict(given)
    return {**given, config.split + RANDOM: SplitFacts(False, given[config.split].record)}


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse scores that cannot read the records of the split, and a name that is taken."""
    if config.compare == "random" and config.split + RANDOM in records:
        raise DataError(f"there is a split '{config.split}{RANDOM}' already; rename it, or set compare: none")
    if kind := records.get(config.split):
        _check_kind(config, kind)


def sources(config: Config) -> dict[str, str]:
    """The packaged templates that scores name; an unknown name is refused."""
    named = [getattr(each, "template", None) for each in (*config.scores, config.embedding)]
    return {f"template {name}": load_template(name) for name in named if name}


def plan(config: Config, run: StageRun) -> dict[str, str]:
    """How much there is to choose from, for ``--dry-run``."""
    data = run.inputs.get(str(config.data))
    if not isinstance(data, Artifact) or config.split not in data.details["splits"]:
        return {}
    count = data.details["splits"][config.split]["records"]
    titles = ", ".join(score.title for score in config.scores) or "no score"
    return {"chooses": f"from {count:,} records, by {titles}"}


def run(config: Config, run: StageRun) -> Outcome:
    """A data set in; one out whose split holds what was chosen, with every other record in ``removed.jsonl``."""
    from xinglin.data import card
    from xinglin.data.dataset import TOKENIZER, describe_split, tokenise_splits
    from xinglin.models.tokenizer import load_tokenizer
    from xinglin.selection.carrying import Carrier
    from xinglin.selection.choosing import choose, random_subset
    from xinglin.selection.leaving import report, write

    data = run.artifact(str(config.data))
    facts = _facts(config, data)
    shutil.copytree(data.folder / TOKENIZER, run.out / TOKENIZER, dirs_exist_ok=True)
    tokenizer = load_tokenizer(str(run.out / TOKENIZER))
    carrier, rules = Carrier(data, run.out, tokenizer), _rules(config)
    split = carrier.open(config.split)
    if config.tokens_counted and split.unit != "tokens":
        raise DataError(f"split '{config.split}' has no tokens to count; give keep instead of tokens")
    choice = choose(split, rules, _workplace(run, data))
    if not choice.chosen.any():
        raise DataError(_nothing(config, choice))
    subsets = {"chosen": choice.chosen}
    if config.compare == "random":
        subsets["random"] = random_subset(choice, rules)
    names = dict(zip(subsets, (config.split, config.split + RANDOM), strict=False))
    targets = {run.out / f"{name}.jsonl": subsets[subset] for subset, name in names.items()}
    removed = write(split, choice, targets, run.out)
    made = {
        name: describe_split(
            facts["record"], records=int(subsets[subset].sum()), held_out=False, cut_from=cut
        )
        for (subset, name), cut in zip(names.items(), (facts["cut_from"], config.split), strict=False)
    }
    made[config.split] |= {"sources": facts["sources"], "removed": {**facts["removed"], STEP: dict(removed)}}
    tokenise_splits(run.out, tokenizer, made, **carrier.limits)
    found = report(split, choice, subsets)
    if found["scores"]:
        plot(found["scores"], run.out / PLOT)
    every = made | carrier.carry(config.split)
    masks = {name: subsets[subset] for subset, name in names.items()}
    found_leaks = carrier.leaks(every, subsets={config.split: masks})
    details = {"splits": every, "steps": found_leaks, "tokenizer": data.details["tokenizer"]}
    card.write(run.out, details)
    kept = float(choice.chosen.mean())
    return Outcome(PRODUCES, {"select.kept": interval(kept)}, details | {"selection": found})


def _facts(config: Config, data: Artifact) -> dict[str, Any]:
    """The description of the split.

    Raises:
        DataError: no such split, held out, of records that a score cannot read, or the random one has a name in use.
    """
    known = data.details["splits"]
    if config.split not in known:
        raise DataError(
            f"{data.folder}: no split '{config.split}'; {plugins.nearest(config.split, list(known))}"
        )
    if known[config.split]["held_out"]:
        raise DataError(f"split '{config.split}' is held out for evaluation; choose from another one")
    check_records(config, {name: facts["record"] for name, facts in known.items()})
    facts: dict[str, Any] = known[config.split]
    return facts


def _check_kind(config: Config, kind: str) -> None:
    readers = [("score", score.name, plugins.load(scores.PACKAGE, score.name)) for score in config.scores]
    if any(getattr(plugins.load(steps.PACKAGE, step.name), "EMBEDS", False) for step in config.applied):
        name = config.embedding.name
        readers.append(("embedding", name, plugins.load(embeddings.PACKAGE, name)))
    for what, name, module in readers:
        readable = getattr(module, "RECORDS", (kind,))
        if kind not in readable:
            raise DataError(
                f"{what} '{name}' reads {' and '.join(f'{each}s' for each in readable)}, and split "
                f"'{config.split}' holds {kind}s; name another split or {what}"
            )


def _rules(config: Config) -> "Rules":
    from xinglin.selection.choosing import Rules

    fields = dict.fromkeys([SOURCE, DEPARTMENT, *(quota.field for quota in config.quotas)])
    return Rules(
        config.scores, config.applied, config.embedding, config.quotas, config.protect, tuple(fields)
    )


def _workplace(run: StageRun, data: Artifact) -> "Workplace":
    from xinglin.selection.choosing import Workplace

    def identify(reference: str) -> str:
        made = run.inputs[reference]
        if isinstance(made, Artifact):
            return made.fingerprint
        # A tiny model takes its random weights from the seed and its tokenizer from the data set.
        tiny = {"seed": run.seed, "data": data.fingerprint} if made.startswith("tiny:") else {}
        return fingerprint({"model": hash_model(made), **tiny})

    context = Context(run.model, data.folder / "tokenizer", run.seed, run.cache, run.scratch)
    return Workplace(context, identify, run.stop_requested)


def _nothing(config: Config, choice: "Choice") -> str:
    reasons = Counter(removal.reason for removal in choice.pool.removals.values()).most_common(3)
    why = ", ".join(f"{count} {reason}" for reason, count in reasons) or "quotas let nothing in"
    return f"split '{config.split}': no record is chosen ({why}); loosen the steps"
