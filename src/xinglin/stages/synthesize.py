"""Let a model behind an OpenAI-compatible endpoint write data: questions, dialogues, better answers, preferences."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union

from pydantic import Field, model_validator

from xinglin import plugins
from xinglin.config.base import AnySplit, DataInput, StageConfig
from xinglin.config.marks import SplitFacts, Splits
from xinglin.config.parts import Positive
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.building import OWN_FILES, QUARANTINE
from xinglin.data.copies.duplicates import SplitFile
from xinglin.data.copies.leaks import LeakReport, Leaks
from xinglin.data.deidentify import Deidentification
from xinglin.data.records import Record
from xinglin.data.sources import Source, content_hash
from xinglin.endpoint import Budget, Caps, Endpoint, Ledger
from xinglin.endpoint.client import key_of
from xinglin.errors import DataError, EndpointError
from xinglin.runtime.artifact import Artifact, interval
from xinglin.runtime.progress import progress
from xinglin.runtime.stage_run import Outcome, StageRun
from xinglin.synthesis.accounts import REJECTED, Accounts, Rejections
from xinglin.synthesis.asking import endpoints
from xinglin.synthesis.forecast import forecast
from xinglin.synthesis.gate import Gate, lets_out
from xinglin.synthesis.production import Shop, Writer, produce, without_leaks
from xinglin.synthesis.task import Item, TaskConfig
from xinglin.synthesis.tasks import PACKAGE

if TYPE_CHECKING:
    Task = TaskConfig
else:
    _CONFIGS = tuple(plugins.load(PACKAGE, name).Config for name in plugins.names(PACKAGE))
    Task = Annotated[Union[_CONFIGS], Field(discriminator="name")]  # noqa: UP007

PRODUCES = "dataset"
LIBRARY = ("endpoint", "evaluate", "rewards", "selection", "synthesis")
LEDGER = "ledger.jsonl"
SPENT = "spent.jsonl"
STEP = "synthesize"


class Config(StageConfig):
    """Add a split that a model writes, from other splits or from records of a task's own."""

    data: DataInput = None
    """The data set to make it from and to add it to. Default: the nearest earlier one."""
    splits: list[AnySplit] = Field(default=[])
    """Whose records it is made of, for tasks that read some. Default: ``train``. The new split is held out if one of
    them is."""
    into: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = "synthetic"
    """What the new split is called. All others come along as they are."""
    task: Task
    """What to make: a ``name`` and options (``xinglin list synthesis``)."""
    max_items: Positive | None = None
    """Make something of the first so many items only: try a few, and look at what comes out."""
    endpoint: Endpoint
    """Who writes it."""
    caps: Caps = Caps()
    """What may be spent."""
    deidentify: Deidentification = Deidentification()
    """Personal data in what is sent. An endpoint that is not local needs ``{mode: replace}``."""
    leaks: Leaks = Leaks()
    """What becomes of made records that hold items of benchmarks or held-out splits."""
    ledger: str | None = None
    """A file that keeps every reply, to be shared with other runs. Default: one in the run folder. Each reply that a
    data set is made of is in its own ``ledger.jsonl`` too."""

    @model_validator(mode="after")
    def _splits_are_read(self) -> Self:
        if self.splits and not _module(self).READS:
            raise ValueError(f"task {self.task.name} reads no split; leave splits out")
        return self

    @model_validator(mode="after")
    def _has_a_file_of_its_own(self) -> Self:
        if f"{self.into}.jsonl" in OWN_FILES | {REJECTED, LEDGER, SPENT}:
            raise ValueError(
                f"into: {self.into}.jsonl is a file that the stage writes itself; give another name"
            )
        return self

    @model_validator(mode="after")
    def _sends_nothing_personal(self) -> Self:
        for endpoint in endpoints(self.endpoint, self.task):
            if not endpoint.is_local and not lets_out(self.deidentify):
                raise ValueError(
                    f"{endpoint.host} is not local: texts may only leave with deidentify: {{mode: replace}} and "
                    "placeholders; set that, or local: true if the machine is yours"
                )
            if self.caps.max_cost and not endpoint.prices:
                raise ValueError(
                    f"caps.max_cost needs the prices of {endpoint.title}; add them to the endpoint"
                )
        return self

    @property
    def read(self) -> list[str]:
        """The splits that are read."""
        return (self.splits or ["train"]) if _module(self).READS else []


def _module(config: Config) -> ModuleType:
    return plugins.load(PACKAGE, config.task.name)


def check_records(config: Config, records: Mapping[str, str]) -> None:
    """Refuse splits of records that the task cannot read, and a name that is taken."""
    for name in config.read:
        if name in records and records[name] not in _module(config).READS:
            wanted = " or ".join(_module(config).READS)
            raise DataError(
                f"task {config.task.name} reads {wanted} records, and split '{name}' holds {records[name]} records; "
                "name another one under splits"
            )
    if config.into in records:
        raise DataError(f"there is a split '{config.into}' already; give into another name")


def splits(config: Config, given: Splits) -> dict[str, SplitFacts]:
    """Those of its data, and the new one, held out if one of those that it is made of is."""
    held_out = any(given[name].held_out for name in config.read if name in given)
    return {**given, config.into: SplitFacts(held_out, _module(config).MAKES)}


def sources(config: Config) -> dict[str, str]:
    """The files of the task, its prompts, and benchmarks that are protected."""
    named = getattr(_module(config), "files", lambda task: [])(config.task)
    found = {path: content_hash(Source(path=path)) for path in [*named, *config.leaks.paths]}
    if config.task.prompts:
        path = Path(config.task.prompts)
        if not path.is_file():
            raise DataError(f"task.prompts: there is no file {path}; correct the path")
        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def plan(config: Config, run: StageRun) -> dict[str, str]:
    """What it would ask and spend, for ``--dry-run``."""
    found = {}
    try:
        for endpoint in endpoints(config.endpoint, config.task):
            key_of(endpoint)
    except EndpointError as error:
        found["key"] = str(error)
    data = run.inputs.get(str(config.data))
    if not config.read or isinstance(data, Artifact):
        items = _items(config, run, data if isinstance(data, Artifact) else None)
        found["asks"] = str(forecast(_module(config), config.task, items, config.endpoint))
    return found


def run(config: Config, run: StageRun) -> Outcome:
    """A data set in; one out with a split more, with every item accounted for and every reply kept."""
    from xinglin.data import card
    from xinglin.data.dataset import TOKENIZER, tokenise_splits
    from xinglin.models.tokenizer import load_tokenizer
    from xinglin.selection.carrying import Carrier

    data = run.artifact(str(config.data))
    known = data.details["splits"]
    for name in config.read:
        if name not in known:
            raise DataError(f"{data.folder}: no split '{name}'; {plugins.nearest(name, list(known))}")
    check_records(config, {name: facts["record"] for name, facts in known.items()})
    made, report, leaks = _make(config, run, data)
    shutil.copytree(data.folder / TOKENIZER, run.out / TOKENIZER, dirs_exist_ok=True)
    tokenizer = load_tokenizer(str(run.out / TOKENIZER))
    carrier = Carrier(data, run.out, tokenizer)
    tokenise_splits(run.out, tokenizer, made, **carrier.limits)
    splits = carrier.carry(config.into) | made
    trained = config.leaks.mode == "report" and not made[config.into]["held_out"]
    steps = carrier.leaks(splits, made=leaks if trained else None)
    details = {"splits": splits, "steps": steps, "tokenizer": data.details["tokenizer"]}
    card.write(run.out, details)
    metrics = {"synthesis.made": interval(report["made"] / report["items"])}
    return Outcome(PRODUCES, metrics, details | {"synthesis": report})


def _make(
    config: Config, run: StageRun, data: Artifact
) -> tuple[dict[str, Any], dict[str, Any], LeakReport | None]:
    """Write ``<into>.jsonl``; returns its description, the report, and what leaked into it."""
    gate, budget = Gate(config.deidentify), Budget(config.caps, run.scratch / SPENT)
    made = SplitFile(config.into, run.out / f"{config.into}.jsonl")
    (run.out / QUARANTINE).unlink(missing_ok=True)
    with (
        Ledger(Path(config.ledger) if config.ledger else run.cache / "synthesis" / LEDGER) as ledger,
        Quarantine(run.out / QUARANTINE) as quarantine,
        Rejections(run.out / REJECTED) as rejections,
    ):
        shop = Shop(_module(config), config.task, config.endpoint, gate, ledger, budget, run.stop_requested)
        writer = Writer(made.path, rejections, _screen(config, data), Accounts())
        total = sum(1 for _ in _items(config, run, data))
        with progress(total, f"synthesis {config.task.name}") as bar:
            reused = produce(shop, _items(config, run, data, gate), writer, bar)
        if budget.reached:
            print(f"stopped: {budget.reached} is reached; {writer.accounts.not_reached} items are left")
        leaks = without_leaks(made, _held_out(data), config.leaks, quarantine, writer)
        ledger.write_used(run.out / LEDGER)
    report = {
        "task": config.task.name,
        "model": config.endpoint.title,
        **writer.accounts.to_json(),
        "spent": budget.spent.to_json(),
        "from_ledger": reused,
        "stopped_by": budget.reached or None,
        "deidentify": gate.to_json(),
        "leaks": leaks.to_json() if leaks else None,
    }
    return {config.into: _described(config, data, writer.accounts, budget)}, report, leaks


def _items(config: Config, run: StageRun, data: Artifact | None, gate: Gate | None = None) -> Iterator[Item]:
    """What to make something of; through ``gate``, if it is to be asked about."""
    items = _module(config).items(_records(config, data, gate), config.task, run.seed)
    return islice(items, config.max_items)


def _records(config: Config, data: Artifact | None, gate: Gate | None) -> Iterator[Record]:
    from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

    if data is None or not config.read:
        records = _module(config).own_records(config.task)
    else:
        records = chain.from_iterable(read_split(data.folder / f"{name}.jsonl") for name in config.read)
    return map(gate.record, records) if gate else records


def _screen(config: Config, data: Artifact) -> Callable[[Record], str | None] | None:
    """What looks at each record made; it compares with sources as they are sent."""
    screen = getattr(_module(config), "screen", None)
    return screen(_records(config, data, Gate(config.deidentify)), config.task) if screen else None


def _held_out(data: Artifact) -> list[SplitFile]:
    held_out = [name for name, facts in data.details["splits"].items() if facts["held_out"]]
    return [SplitFile(name, data.folder / f"{name}.jsonl", True) for name in held_out]


def _described(config: Config, data: Artifact, accounts: Accounts, budget: Budget) -> dict[str, Any]:
    """The split as artifacts describe it.

    Raises:
        DataError: nothing was made.
    """
    from xinglin.data.dataset import describe_split

    reasons = accounts.rejected + accounts.failed + Counter(not_reached=accounts.not_reached)
    if not accounts.records:
        top = ", ".join(f"{count} {reason}" for reason, count in (reasons + accounts.left_out).most_common(4))
        cap = f"; {budget.reached} is reached, raise it under caps" if budget.reached else ""
        raise DataError(
            f"no item of {accounts.items} gave a record ({top}){cap}; {REJECTED} shows what was said"
        )
    known = data.details["splits"]
    given = [source["licence"] for name in config.read for source in known[name]["sources"]]
    account = SourceAccount(
        rows_used=accounts.made,
        records=accounts.records + accounts.left_out.total(),
        reasons=+reasons,
        formats=Counter({config.task.name: accounts.made}),
        examples=accounts.examples,
    )
    what = (
        f"{config.task.name} by {config.endpoint.model} from {', '.join(config.read) or 'records of its own'}"
    )
    licence = ", ".join(sorted(set(filter(None, given)))) or None
    return describe_split(
        _module(config).MAKES,
        records=accounts.records,
        held_out=any(known[name]["held_out"] for name in config.read),
        sources=[{"path": what, "licence": licence, **account.to_json()}],
        removed={STEP: accounts.left_out} if accounts.left_out else {},
    )
