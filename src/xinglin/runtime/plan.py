"""What a run would do with each stage of a recipe: skip, resume or run it, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from xinglin.config.recipe import Recipe, Reference, Stage
from xinglin.errors import CheckpointError, RunError
from xinglin.plugins import nearest
from xinglin.runtime.artifact import FILE, Artifact, sha256
from xinglin.runtime.directory import RunFolder
from xinglin.runtime.fingerprint import fingerprint, hash_model
from xinglin.runtime.stage_run import StageRun

LIBRARY = {
    "dataset": ("data", "models"),
    "model": ("data", "models", "train"),
    "adapter": ("data", "models", "train"),
    "reward_model": ("data", "models", "train"),
    "evaluation": ("data", "models", "engines", "evaluate"),
}
"""The packages whose code decides what a stage makes, by the kind of artifact; its module may name more."""


@dataclass(frozen=True)
class Planned:
    """One stage and what a run would do with it."""

    stage: Stage
    fingerprint: str
    state: Literal["cached", "publish", "resume", "run"]
    """``publish``: all its work is done, only the last rename was cut off."""
    reason: str
    """Why it is not cached: ``new``, ``asked for``, or what changed."""


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    folder: RunFolder
    stages: tuple[Planned, ...]

    def references(self, stage: Stage) -> dict[str, Reference]:
        """Everything that ``stage`` may ask for by its text: its inputs and the recipe's model."""
        base = {"base": self.recipe.base} if self.recipe.base else {}
        return {**base, **{reference.text: reference for reference in stage.inputs.values()}}

    def locate(self, reference: Reference) -> Path | None:
        """The artifact's folder; None for a model that is no artifact."""
        if reference.kind == "stage":
            return self.folder.stage(reference.target)
        return Path(reference.target) if reference.kind == "artifact" else None

    def details(self, planned: Planned) -> dict[str, str]:
        """What the stage can say about work ahead (tokens, memory), from those of its inputs that are finished."""
        stage = planned.stage
        if planned.state == "cached" or not hasattr(stage.module, "plan"):
            return {}
        inputs: dict[str, Artifact | str] = {}
        for text, reference in self.references(stage).items():
            folder = self.locate(reference)
            if folder is None:
                inputs[text] = reference.target
            elif (folder / FILE).is_file():
                inputs[text] = Artifact.load(folder)
        return stage.module.plan(stage.config, stage_run(self, stage, inputs))


def stage_run(plan: Plan, stage: Stage, inputs: dict[str, Artifact | str]) -> StageRun:
    work = plan.folder.work(stage.name)
    return StageRun(
        name=stage.name,
        seed=plan.recipe.seed,
        out=work.out,
        final=plan.folder.stage(stage.name),
        scratch=work.scratch,
        cache=plan.folder.cache,
        base=plan.recipe.base.target if plan.recipe.base else "",
        inputs=inputs,
    )


def build_plan(
    recipe: Recipe, folder: RunFolder, *, only: str | None = None, start_from: str | None = None
) -> Plan:
    """Compare the recipe with what ``folder`` holds.

    Args:
        only: plan this stage alone; what it starts from must be finished.
        start_from: run this stage even if it is finished.

    Raises:
        RunError: no such stage, or ``only`` starts from unfinished ones.
        CheckpointError: a finished stage's ``artifact.json`` is damaged.
    """
    if only and start_from:
        raise RunError(
            "--only and --from exclude each other: one runs a single stage, the other goes on to the end"
        )
    for name in (only, start_from):
        if name and name not in recipe.stages:
            raise RunError(f"the recipe has no stage '{name}'; {nearest(name, list(recipe.stages))}")
    fingerprints = _fingerprints(recipe)
    planned = {
        name: _planned(stage, fingerprints[name], folder, forced=name == start_from)
        for name, stage in recipe.stages.items()
    }
    if only:
        for reference in recipe.stages[only].inputs.values():
            if reference.kind == "stage" and planned[reference.target].state != "cached":
                source = planned[reference.target]
                raise RunError(
                    f"stage '{only}' starts from '{reference.target}', which is not finished for this recipe "
                    f"({source.state}: {source.reason}); run without --only"
                )
        planned = {only: planned[only]}
    return Plan(recipe, folder, tuple(planned.values()))


def _fingerprints(recipe: Recipe) -> dict[str, str]:
    """Stage name -> hash of all that decides its result."""
    content = cache(_content)
    found: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        inputs = {
            reference.text: found[reference.target] if reference.kind == "stage" else content(reference)
            for reference in stage.inputs.values()
        }
        found[name] = fingerprint(
            {
                "config": stage.config.model_dump(mode="json"),
                "inputs": inputs,
                "sources": stage.sources,
                "seed": recipe.seed,
                "base": content(recipe.base) if recipe.base else None,
                "version": metadata.version("xinglin"),
                "code": [sha256(Path(str(stage.module.__file__))), *map(_code_hash, _library(stage))],
            }
        )
    return found


def _library(stage: Stage) -> list[str]:
    own = getattr(stage.module, "LIBRARY", ())
    return sorted({*own, *(package for kind in stage.produces for package in LIBRARY.get(kind, ()))})


@cache
def _code_hash(package: str) -> str:
    """Of a package's code, templates and tables; the demo's tables count as data sources instead."""
    root = Path(__file__).parent.parent / package
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".jinja", ".yaml"))
    return fingerprint(
        {str(path.relative_to(root)): sha256(path) for path in files if "samples" not in path.parts}
    )


def _content(reference: Reference) -> str:
    if reference.kind == "artifact":
        return Artifact.load(Path(reference.target)).fingerprint
    return hash_model(reference.target)


def _planned(stage: Stage, wanted: str, folder: RunFolder, *, forced: bool) -> Planned:
    work = folder.work(stage.name)
    finished = folder.stage(stage.name)
    artifact = Artifact.load(finished) if (finished / FILE).exists() else None
    if artifact and artifact.fingerprint == wanted and not forced:
        return Planned(stage, wanted, "cached", "")
    if _is_complete(work.out, wanted):
        return Planned(stage, wanted, "publish", "its last moment was cut off")
    if work.is_for(wanted):
        return Planned(stage, wanted, "resume", "was interrupted")
    if artifact is None:
        return Planned(stage, wanted, "run", "new")
    return Planned(
        stage, wanted, "run", "asked for" if artifact.fingerprint == wanted else _change(artifact, stage)
    )


def _is_complete(out: Path, wanted: str) -> bool:
    try:
        return Artifact.load(out).fingerprint == wanted
    except (RunError, CheckpointError):
        return False


def _change(artifact: Artifact, stage: Stage) -> str:
    """The settings that differ from those of the finished artifact."""
    keys = ", ".join(_differences(artifact.config, stage.config.model_dump(mode="json")))
    return f"changed: {keys}" if keys else "its inputs, the seed or the code changed"


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}"
