"""A recipe: which stages run in which order, and what each one starts from. Everything wrong is said at once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field

from xinglin import plugins
from xinglin.config.base import Config, Input, StageConfig
from xinglin.config.load import OVERRIDE, Document, load_document
from xinglin.config.marks import Splits, marked, splits_in, wrong_splits
from xinglin.config.tiny import is_tiny, parse_tiny
from xinglin.config.validate import validate
from xinglin.errors import PluginError, Problem, RecipeError, XinglinError

RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_SCORES = ("ForSequenceClassification", '"SEQ_CLS"')
"""How the settings of a model, or of an adapter, tell that it scores texts instead of writing them."""
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Head(Config):
    """The top of a recipe file."""

    name: RunName | None = None
    """Names the run folder ``runs/<name>``. Default: the file's name."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 17
    """Every random choice of the run follows from it."""
    model: str | None = None
    """What the first stage starts from: ``tiny:architecture``, a local folder, or ``hub:org/name``."""
    stages: dict[StageName, Any] = Field(min_length=1)
    """Stage name -> its settings, in the order in which they run. Each has a ``kind`` (``xinglin list stages``)."""
    tiny: dict[str, Any] = Field(default={})
    """What changes when ``model`` is a ``tiny:`` one: a mapping like the recipe itself, laid over it. With it a recipe
    with the numbers of a real model can be tried out from end to end on a laptop."""


@dataclass(frozen=True)
class Reference:
    """What an input of a stage stands for."""

    text: str
    """As the config has it: ``stage:sft``, ``base``, a path, …"""
    kind: Literal["stage", "artifact", "model"]
    target: str
    """Stage name, folder of an artifact, or folder or id of a model."""
    produces: tuple[str, ...]
    """The kinds of artifact that it may turn out to be."""


@dataclass(frozen=True)
class Descent:
    """Where the model that a stage starts from comes from."""

    root: str
    """Folder or id of what the first stage of its line started from."""
    kinds: tuple[str, ...] = ()
    """Of the stages that have trained it since."""


@dataclass(frozen=True)
class Stage:
    """One stage, checked, with every input resolved."""

    name: str
    kind: str
    module: ModuleType
    config: StageConfig
    inputs: dict[str, Reference]
    """Config key -> reference: ``model``, ``models.0`` in a list, ``rewards.0.model`` in settings in a list."""
    sources: dict[str, str]
    """Label -> content hash of every external input."""
    produces: tuple[str, ...]
    """The kinds of artifact that it may turn out to make."""


@dataclass(frozen=True)
class Recipe:
    name: str
    seed: int
    base: Reference | None
    stages: dict[str, Stage]
    package: str
    """Where the stage modules live."""
    text: str
    """The file with all overrides and default inputs written out."""


def load_recipe(path: str | Path, *, sets: Sequence[str] = (), package: str = "xinglin.stages") -> Recipe:
    """Read and check a recipe: keys, types, bounds, references, artifact kinds, files.

    Args:
        path: the YAML file.
        sets: overrides, each ``a.b=value``; a later one wins.
        package: the package whose modules are the stages.

    Raises:
        RecipeError: with every problem of the recipe.
    """
    document = load_document(Path(path), sets=sets)
    if is_tiny(str(document.root.get("model"))):
        document.overlay("tiny")
        for assignment in sets:
            document.override(assignment)
    return _Reader(document, package).read()


class _Reader:
    """Collects problems while it walks through the stages in order."""

    def __init__(self, document: Document, package: str):
        self.document = document
        self.package = package
        self.problems: list[Problem] = []
        self.made: dict[str, tuple[str, ...]] = {}
        self.splits: dict[str, Splits] = {}
        self.descents: dict[str, Descent] = {}
        self.base: Reference | None = None
        self.names: tuple[str, ...] = ()

    def read(self) -> Recipe:
        data = self.document.plain()
        head, problems = validate(Head, data, document=self.document)
        self.problems += problems
        written = data["stages"] if isinstance(data.get("stages"), dict) else {}
        self.names = tuple(written)
        if isinstance(data.get("model"), str):
            self.base = self._outside(data["model"], ("model",), ("model", "adapter"))
        stages = {name: self._stage(name, row) for name, row in written.items()}
        if self.problems or head is None:
            raise RecipeError(sorted(self.problems, key=_by_line))
        return Recipe(
            name=head.name or self.document.path.stem,
            seed=head.seed,
            base=self.base,
            stages={name: stage for name, stage in stages.items() if stage is not None},
            package=self.package,
            text=self.document.dump(),
        )

    def _stage(self, name: str, data: Any) -> Stage | None:
        keys = ("stages", name)
        self.made[name], self.splits[name] = (), {}
        module = self._module(name, data)
        if module is None:
            return None
        config, problems = validate(module.Config, data, document=self.document, keys=keys)
        self.problems += problems
        inputs = self._resolve(name, module.Config, data if config is None else config.model_dump())
        kinds = {field: reference.produces for field, reference in inputs.items()}
        self.made[name] = _produces(module, config, kinds)
        if config is None:
            return None
        config = self._spell_out(name, config, inputs)
        known = self._known_splits(inputs.get("data"))
        self._check_splits(name, config, known, data=inputs.get("data"))
        self.splits[name] = module.splits(config, known) if hasattr(module, "splits") else {}
        try:
            if hasattr(module, "check"):
                module.check(config, kinds)
            if hasattr(module, "check_records"):
                module.check_records(
                    config, {split: facts.record for split, facts in known.items() if facts.record}
                )
            descent = self._descent(name, data["kind"], inputs)
            if descent and hasattr(module, "check_start"):
                module.check_start(config, descent)
            sources = module.sources(config) if hasattr(module, "sources") else {}
        except XinglinError as error:
            self._problem(keys, str(error))
            sources = {}
        return Stage(
            name=name,
            kind=data["kind"],
            module=module,
            config=config,
            inputs=inputs,
            sources=sources,
            produces=self.made[name],
        )

    def _descent(self, name: str, kind: str, inputs: dict[str, Reference]) -> Descent | None:
        """Where the model of a stage comes from; None: it starts from none."""
        start = next((inputs[key] for key in ("model", "adapter", "models.0") if key in inputs), None)
        if start is None:
            return None
        given = self.descents.get(start.target) if start.kind == "stage" else Descent(start.target)
        if given:
            self.descents[name] = Descent(given.root, (*given.kinds, kind))
        return given

    def _known_splits(self, data: Reference | None) -> Splits:
        """The splits of a stage's data; none if they are not known."""
        if data is None:
            return {}
        return splits_in(Path(data.target)) if data.kind == "artifact" else self.splits[data.target]

    def _check_splits(self, name: str, config: StageConfig, known: Splits, *, data: Reference | None) -> None:
        """Find splits that the stage's data will not have."""
        if known and data:
            values = config.model_dump(by_alias=False)
            for wrong in wrong_splits(type(config), values, known, data=data.text):
                self._problem(("stages", name, *wrong.keys), wrong.message, wrong.cure)

    def _module(self, name: str, data: Any) -> ModuleType | None:
        keys = ("stages", name)
        kinds = ", ".join(plugins.names(self.package))
        if not isinstance(data, dict):
            self._problem(keys, "is no mapping", f"write {name}: {{kind: …}} with one of {kinds}")
        elif not isinstance(data.get("kind"), str):
            others = [other for other in self.names if other != name]
            typo = self.document.place(keys) == OVERRIDE and plugins.nearest(name, others)
            self._problem((*keys, "kind"), "is missing", typo or f"add one of {kinds}")
        else:
            try:
                return plugins.load(self.package, data["kind"])
            except PluginError as error:
                message, _, cure = str(error).partition("; ")
                self._problem((*keys, "kind"), message, cure)
        return None

    def _resolve(self, name: str, config: type[StageConfig], values: dict[str, Any]) -> dict[str, Reference]:
        """What the inputs among ``values`` stand for; one left out (None) is found."""
        found = {
            ".".join(place.keys): self._reference(
                place.text, ("stages", name, *place.keys), place.mark, before=name
            )
            for place in marked(config, values, Input)
        }
        return {key: reference for key, reference in found.items() if reference}

    def _spell_out(self, name: str, config: StageConfig, inputs: dict[str, Reference]) -> StageConfig:
        """``config`` with no input left out; the recipe's text gets them too."""
        filled: Any = config
        for key, reference in inputs.items():
            filled = _replaced(filled, key.split("."), reference.text)
        before, after = config.model_dump(mode="json"), filled.model_dump(mode="json")
        for field in type(config).model_fields:
            if before.get(field) != after.get(field):
                self.document.set_default(("stages", name, field), after[field])
        return filled

    def _reference(
        self, text: str | None, keys: tuple[str, ...], mark: Input, *, before: str
    ) -> Reference | None:
        kinds = mark.kinds
        if text is None:
            text = self._nearest(mark.by_default or kinds, before)
            if text is None:
                earlier = self.names[: self.names.index(before)]
                if all(self.made[name] for name in earlier):  # else one of unknown kind may be meant to
                    message = f"no earlier stage makes {_words(kinds)}"
                    self._problem(keys, message, "add one before it, or name a folder here")
                return None
        if text.startswith("stage:"):
            return self._earlier(text.removeprefix("stage:"), keys, kinds, before=before)
        if text == "base":
            return self._base(keys, kinds)
        return self._outside(text, keys, kinds)

    def _nearest(self, kinds: tuple[str, ...], before: str) -> str | None:
        for name in reversed(self.names[: self.names.index(before)]):
            if set(self.made[name]) & set(kinds):
                return f"stage:{name}"
        return "base" if "model" in kinds else None

    def _earlier(
        self, name: str, keys: tuple[str, ...], kinds: tuple[str, ...], *, before: str
    ) -> Reference | None:
        earlier = self.names[: self.names.index(before)]
        if name not in earlier:
            late = name in self.names
            message = f"stage '{name}' does not come earlier" if late else f"there is no stage '{name}'"
            cure = (
                "move it up" if late and name != before else plugins.nearest(name, earlier) if earlier else ""
            )
            self._problem(keys, message, cure)
            return None
        made = self.made[name]
        if made and not set(made) & set(kinds):
            self._mismatch(keys, f"stage '{name}' makes {_words(made)}", kinds)
            return None
        return Reference(f"stage:{name}", "stage", name, made)

    def _base(self, keys: tuple[str, ...], kinds: tuple[str, ...]) -> Reference | None:
        if self.base is None:
            if "model" not in self.document.plain():
                self._problem(
                    keys, "needs the recipe's model", "add a line 'model: …' at the top, e.g. tiny:qwen3"
                )
            return None
        if not set(self.base.produces) & set(kinds):
            self._mismatch(keys, f"the recipe's model is {_words(self.base.produces)}", kinds)
            return None
        return Reference("base", self.base.kind, self.base.target, self.base.produces)

    def _outside(self, text: str, keys: tuple[str, ...], kinds: tuple[str, ...]) -> Reference | None:
        """A reference to what no stage of the recipe makes."""
        try:
            reference = _named(text) or _folder(text)
        except XinglinError as error:
            message, _, cure = str(error).partition("; ")
            self._problem(keys, message, cure)
            return None
        if not set(reference.produces) & set(kinds):
            self._mismatch(keys, f"{text} is {_words(reference.produces)}", kinds)
            return None
        return reference

    def _mismatch(self, keys: tuple[str, ...], message: str, kinds: tuple[str, ...]) -> None:
        self._problem(keys, f"{message}, this needs {_words(kinds)}", "name another one")

    def _problem(self, keys: tuple[str, ...], message: str, cure: str = "") -> None:
        self.problems.append(Problem(self.document.place(keys), ".".join(keys), message, cure))


def _produces(
    module: ModuleType, config: StageConfig | None, kinds: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The artifact kinds that a stage can make; with its config and inputs where the stage knows better then."""
    if config is not None and hasattr(module, "produces"):
        return (module.produces(config, kinds),)
    return (module.PRODUCES,) if isinstance(module.PRODUCES, str) else tuple(module.PRODUCES)


def _replaced(value: Any, keys: Sequence[str], text: str) -> Any:
    """``value``, settings or a list, with ``text`` at ``keys``; nothing is validated again."""
    if not keys:
        return text
    key, *rest = keys
    if isinstance(value, list):
        return [_replaced(item, rest, text) if str(i) == key else item for i, item in enumerate(value)]
    return value.model_copy(update={key: _replaced(getattr(value, key), rest, text)})


def _named(text: str) -> Reference | None:
    """A reference to a model of a hub, or to a random one."""
    if is_tiny(text):
        parse_tiny(text)
        return Reference(text, "model", text, ("model",))
    if text.startswith("hub:"):
        return Reference(text, "model", text, ("model", "adapter", "reward_model"))
    return None


def _folder(text: str) -> Reference:
    """A local folder as an input: a finished artifact, or a model or adapter in Hugging Face's layout."""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise XinglinError(
            f"there is no folder {folder.absolute()}; write stage:NAME for a stage, hub:org/name for a download"
        )
    if (folder / "artifact.json").is_file():
        try:
            kind = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))["kind"]
        except (ValueError, KeyError, TypeError):
            raise XinglinError(f"{folder / 'artifact.json'} is damaged; make that artifact again") from None
        return Reference(text, "artifact", str(folder), (kind,))
    for file, kind in (("adapter_config.json", "adapter"), ("config.json", "model")):
        if (folder / file).is_file():
            settings = (folder / file).read_text(encoding="utf-8")
            scores = any(mark in settings for mark in _SCORES)
            return Reference(text, "model", str(folder), ("reward_model" if scores else kind,))
    raise XinglinError(
        f"{folder} has no artifact.json, config.json or adapter_config.json; name the folder that has"
    )


def _words(kinds: tuple[str, ...]) -> str:
    named = [kind.replace("_", " ") for kind in kinds]
    return " or ".join(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in named)


def _by_line(problem: Problem) -> tuple[bool, int]:
    line = problem.place.rsplit(":", 1)[-1]
    return problem.place == OVERRIDE, int(line) if line.isdecimal() else 0
