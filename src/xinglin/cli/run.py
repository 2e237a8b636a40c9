"""``xinglin run``: a recipe from start to report."""

import contextlib
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from xinglin.runtime.plan import Plan


@click.command("run")
@click.argument("recipe", type=click.Path())
@click.option("--only", metavar="STAGE", help="Run this stage alone; what it starts from must be finished.")
@click.option("--from", "start_from", metavar="STAGE", help="Run this stage again, then what depends on it.")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Override one value of the recipe.")
@click.option("--out", metavar="DIR", help="The run folder. Default: runs/<name of the recipe>.")
@click.option("--dry-run", is_flag=True, help="Check everything and print the plan; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; all else goes to stderr.")
def command(dry_run: bool, as_json: bool, **arguments: Any) -> None:
    """Run all stages of RECIPE, each in a process of its own.

    Finished stages are skipped, interrupted ones go on from their last checkpoint, changed ones run again. So
    after Ctrl-C, a crash or an edit, the same command does what is left.

    \b
    Examples:
      xinglin run recipes/tiny.yaml
      xinglin run recipes/tiny.yaml --dry-run
      xinglin run recipes/tiny.yaml --set stages.sft.optimizer.learning_rate=2e-4 --out runs/faster
      xinglin run recipes/tiny.yaml --from sft
    """
    from xinglin import pipeline
    from xinglin.runtime.environment import launch

    if dry_run:
        if launch().rank == 0:
            _print_plan(pipeline.plan(**arguments), as_json=as_json)
        return
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        folder = _run(arguments)
    if as_json and launch().rank == 0:
        from xinglin.report.summary import summarise

        click.echo(json.dumps(summarise(folder), ensure_ascii=False, indent=2))


def _run(arguments: dict[str, Any]) -> Any:
    from xinglin import pipeline
    from xinglin.errors import Interrupted
    from xinglin.runtime.environment import launch
    from xinglin.runtime.executor import StageCrashed

    again = shlex.join(["xinglin", *sys.argv[1:]]) if launch().processes == 1 else "the same command"
    try:
        return pipeline.run(**arguments).folder
    except StageCrashed as error:
        click.echo(f"error: {error}\nFinished stages are kept. To go on: {again}", err=True)
        raise click.exceptions.Exit(error.exit_code) from None
    except Interrupted:
        click.echo(f"interrupted; what is done is kept. To go on: {again}", err=True)
        raise


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    rows = [
        {
            "stage": planned.stage.name,
            "kind": planned.stage.kind,
            "inputs": {field: reference.text for field, reference in planned.stage.inputs.items()},
            "state": planned.state,
            "reason": planned.reason,
            "fingerprint": planned.fingerprint,
            "details": plan.details(planned),
        }
        for planned in plan.stages
    ]
    if as_json:
        click.echo(
            json.dumps({"folder": str(plan.folder.path), "stages": rows}, ensure_ascii=False, indent=2)
        )
        return
    from rich import box
    from rich.table import Table

    from xinglin.runtime.logging import console

    columns = ("stage", "kind", "starts from", "plan", "")
    table = Table(*columns, title=f"Plan for {plan.folder.path}", title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        inputs = "\n".join(f"{field}: {text}" for field, text in row["inputs"].items())
        state = f"{row['state']} ({row['reason']})" if row["reason"] else row["state"]
        table.add_row(row["stage"], row["kind"], inputs, state, _lines(row["details"]))
    console().print(table)


def _lines(details: dict[str, str]) -> str:
    return "\n".join(f"{label}: {text}" for label, text in details.items())
