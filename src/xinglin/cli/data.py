"""``xinglin data``: what is in a folder of data, before anything is trained on it."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import click


@click.group("data")
def command() -> None:
    """Look at data before training on them.

    \b
    Examples:
      xinglin data check consultations/
      xinglin data check corpus.jsonl --against benchmarks/ --out check.html
      xinglin data detectors
    """


@command.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--against",
    multiple=True,
    metavar="PATH",
    help="Benchmarks whose items must not be in the data. Exams among the files count, too.",
)
@click.option(
    "--tokenizer", metavar="MODEL", help="Whose tokens are counted. Default: one trained on the files."
)
@click.option(
    "--template", metavar="NAME", help="A packaged chat template. Default: the tokenizer's own, or chatml."
)
@click.option("--max-tokens", default=2048, show_default=True, help="Count records longer than this.")
@click.option("--out", metavar="FILE", help="Write the page here, e.g. check.html.")
@click.option("--quarantine", metavar="FILE", help="Write the rows that cannot be used here, with reasons.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def check(
    paths: tuple[str, ...],
    against: tuple[str, ...],
    tokenizer: str | None,
    template: str | None,
    max_tokens: int,
    out: str | None,
    quarantine: str | None,
    as_json: bool,
) -> None:
    """Say what is in the files at PATH: a file, a folder, a glob, or hub:ORG/NAME.

    For each file: its encoding and formats, the rows that can be used and the others by reason and line,
    languages, lengths in tokens, turns, departments, licence; and over all files copies, items of benchmarks,
    and personal data. Nothing is changed. With --out, a page shows all of it, and samples as a model would
    read them, with what the loss counts marked.

    \b
    Examples:
      xinglin data check consultations/
      xinglin data check rows.csv notes/ --tokenizer /models/Qwen3-0.6B --out check.html
      xinglin data check consultations/ --json | jq '.files[] | {path, rows_in, reasons}'
    """
    from xinglin import api
    from xinglin.report import check as page

    # The temporary folder holds records of patients: it goes, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Progress is for people: it must not stand in the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        report = api.check(
            *paths,
            against=against,
            tokenizer=tokenizer,
            template=template,
            max_tokens=max_tokens,
            quarantine=quarantine,
            processes=os.cpu_count() or 1,
        )
    if out:
        page.write(report, Path(out))
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    from xinglin.runtime.logging import console

    console().print(page.table(report))
    for line in page.lines(report):
        click.echo(line)
    if out:
        click.echo(f"page  {out}")


@command.command("detectors")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def detectors(as_json: bool) -> None:
    """How well personal data are found, by type, on the labelled sentences that come with xinglin.

    A hit counts only with its exact type, start and end. The sentences are invented, in Chinese and English, more than
    half of them without anything to find: thanks to doctors, doses, lab values. Names, hospitals and places in them
    are not in the detectors' lists.
    """
    from dataclasses import asdict

    from xinglin.data.deidentify.trial import as_table, evaluate_detectors

    scores = evaluate_detectors()
    if as_json:
        rows = {
            type: {**asdict(score), "precision": score.precision, "recall": score.recall}
            for type, score in scores.items()
        }
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(as_table(scores))
