"""``xinglin show``: what a run did."""

import json
from pathlib import Path

import click


@click.command("show")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="All of it, with value, low and high of every metric.")
def command(run_folder: Path, as_json: bool) -> None:
    """Print the stages of RUN, what each did to the model, the paired tests and where every row of data went.

    \b
    Examples:
      xinglin show runs/demo
      xinglin show runs/demo --json | jq '.models[].metrics'
    """
    from xinglin.report.findings import leaked
    from xinglin.report.summary import summarise, tables

    summary = summarise(run_folder)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False, indent=2))
        return
    from xinglin.runtime.logging import console

    for table in tables(summary):
        console().print(table)
    for line in leaked(summary["leaked"]):
        click.echo(line)
    for stage in summary["stages"]:
        if stage["error"]:
            click.echo(f"{stage['name']} failed: {stage['error'].splitlines()[-1]}")
