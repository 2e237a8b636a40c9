"""Run a recipe: check everything, then each stage; skip what is done, resume what is half done."""

import contextlib
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xinglin.config.recipe import Recipe, load_recipe
from xinglin.errors import Interrupted, XinglinError
from xinglin.runtime.artifact import FILE, Artifact
from xinglin.runtime.atomic import remove_folder, write_text
from xinglin.runtime.directory import RunFolder, disk_full_explained
from xinglin.runtime.environment import launch, visible_gpus
from xinglin.runtime.executor import LocalExecutor, StageCrashed
from xinglin.runtime.lock import locked
from xinglin.runtime.logging import console, logged
from xinglin.runtime.plan import Plan, Planned, build_plan
from xinglin.runtime.together import Followers, follow
from xinglin.runtime.units import seconds_text
from xinglin.runtime.worker import Job


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    artifacts: dict[str, Artifact]
    """Stage name -> artifact of every finished stage, in the order of the recipe."""


def plan(
    recipe: str | Path,
    *,
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    only: str | None = None,
    start_from: str | None = None,
    package: str = "xinglin.stages",
) -> Plan:
    """Check a recipe and say what ``run`` with the same arguments would do, without doing any of it.

    Raises:
        RecipeError: the recipe is wrong.
        RunError: the folder cannot be used.
    """
    checked, folder = _check(recipe, sets=sets, out=out, package=package)
    return build_plan(checked, folder, only=only, start_from=start_from)


def run(
    recipe: str | Path,
    *,
    sets: Sequence[str] = (),
    out: str | Path | None = None,
    only: str | None = None,
    start_from: str | None = None,
    package: str = "xinglin.stages",
) -> Run:
    """Run the stages of a recipe, a process each, and leave artifacts and a report in the run folder.

    Started several times by ``torchrun`` or ``accelerate launch``, the first process does so; the others take part in
    the stages that are shared (``DISTRIBUTED``) and return when the run is at its end.

    Args:
        recipe: the YAML file.
        sets: overrides of the recipe, each ``a.b=value``.
        out: the run folder. Default: ``runs/<name of the recipe>``.
        only: run this stage alone; what it starts from must be finished.
        start_from: run this stage even if it is finished, and after it whatever changed.
        package: the package whose modules are the stages.

    Raises:
        RecipeError: the recipe is wrong; nothing was started.
        RunError: the folder is in use, holds something else, or its disk is full.
        XinglinError: what a stage raised. What was finished before is kept, as in all cases below.
        StageCrashed: a stage was killed or has a bug.
        Interrupted: Ctrl-C or SIGTERM; the same call goes on where this one stopped.
    """
    started = time.monotonic()
    checked, folder = _check(recipe, sets=sets, out=out, package=package)
    if launch().rank:
        follow(launch(), folder.meeting)
        return Run(folder.path, _finished(checked, folder))
    with locked(folder.lock) as lock, logged(folder.log) as log, disk_full_explained(folder.path):
        planned = build_plan(checked, folder, only=only, start_from=start_from)
        try:
            write_text(folder.recipe, checked.text)
            _execute(planned, lock)
        except (XinglinError, StageCrashed, Interrupted) as error:
            log.write(f"{str(error) or 'interrupted'}\n")
            _report(planned)
            raise
        artifacts = _finished(checked, folder)
        _conclude(planned, artifacts, seconds=time.monotonic() - started)
    return Run(folder.path, artifacts)


def _check(
    recipe: str | Path, *, sets: Sequence[str], out: str | Path | None, package: str
) -> tuple[Recipe, RunFolder]:
    checked = load_recipe(recipe, sets=sets, package=package)
    return checked, RunFolder(Path(out) if out is not None else Path("runs") / checked.name)


def _execute(plan: Plan, lock: int) -> None:
    todo = [planned for planned in plan.stages if planned.state != "cached"]
    preload = importlib.import_module(plan.recipe.package).PRELOAD if todo else ()
    offline = not _uses_hub(plan)
    with contextlib.ExitStack() as stack:
        followers = None
        if launch().processes > 1:
            followers = Followers(launch(), plan.folder.meeting, preload=preload, offline=offline)
            stack.callback(followers.close)
        elif visible_gpus() > 1 and any(_is_shared(planned) for planned in todo):
            print(
                f"one of {visible_gpus()} GPUs is used; for all: torchrun --nproc-per-node gpu -m xinglin run …"
            )
        executor = stack.enter_context(LocalExecutor(preload, lock=lock, offline=offline))
        for planned in plan.stages:
            if planned.state == "cached":
                print(f"{planned.stage.name}: cached")
            else:
                _run_stage(plan, planned, executor, followers)
                _report(plan)


def _is_shared(planned: Planned) -> bool:
    return getattr(planned.stage.module, "DISTRIBUTED", False)


def _run_stage(plan: Plan, planned: Planned, executor: LocalExecutor, followers: Followers | None) -> None:
    name = planned.stage.name
    work = plan.folder.work(name)
    print(f"{name}: {planned.state} ({planned.reason})")
    if planned.state == "run":
        remove_folder(work.path)
    if planned.state != "publish":
        for folder in (work.out, work.scratch, plan.folder.cache):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(work.fingerprint, planned.fingerprint)
        if followers and _is_shared(planned):
            followers.run(_job(plan, planned), executor)
        else:
            executor.run(_job(plan, planned))
    work.publish(plan.folder.stage(name))
    print(f"{name}: done in {seconds_text(Artifact.load(plan.folder.stage(name)).seconds)}")


def _job(plan: Plan, planned: Planned) -> Job:
    stage = planned.stage
    located = {
        text: (plan.locate(reference), reference) for text, reference in plan.references(stage).items()
    }
    return Job(
        folder=str(plan.folder.path),
        package=plan.recipe.package,
        kind=stage.kind,
        name=stage.name,
        fingerprint=planned.fingerprint,
        config=stage.config.model_dump(mode="json"),
        seed=plan.recipe.seed,
        base=plan.recipe.base.target if plan.recipe.base else "",
        fields={field: reference.target for field, reference in stage.inputs.items()},
        artifacts={text: str(folder) for text, (folder, _) in located.items() if folder is not None},
        models={text: reference.target for text, (folder, reference) in located.items() if folder is None},
        python_path=sys.path,
    )


def _uses_hub(plan: Plan) -> bool:
    references = [
        reference for planned in plan.stages for reference in plan.references(planned.stage).values()
    ]
    return any(reference.target.startswith("hub:") for reference in references)


def _finished(recipe: Recipe, folder: RunFolder) -> dict[str, Artifact]:
    folders = {name: folder.stage(name) for name in recipe.stages}
    return {name: Artifact.load(folder) for name, folder in folders.items() if (folder / FILE).is_file()}


def _report(plan: Plan) -> Path:
    from xinglin.report import page

    return page.write(plan.folder.path)


def _conclude(plan: Plan, artifacts: dict[str, Artifact], *, seconds: float) -> None:
    """Say what the run did to the model, and what to do with it now."""
    from xinglin.report.summary import summarise, tables

    terminal = console()
    for table in tables(summarise(plan.folder.path)):
        terminal.print(table)
    print(f"total time  {seconds_text(seconds)}")
    print(f"report      {_report(plan)}")
    models = [artifact.folder for artifact in artifacts.values() if artifact.kind in ("model", "adapter")]
    if models:
        print(f"talk to it  xinglin chat {models[-1]}")
