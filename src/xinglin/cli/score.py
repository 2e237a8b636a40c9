"""``xinglin score``: a reward model's opinion of the answers in a file."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command("score")
@click.argument("file", type=click.Path())
@click.option(
    "--model", required=True, metavar="PATH", help="Folder of a reward stage, a run, or hub:ORG/NAME."
)
@click.option("--out", metavar="FILE", help="Write the rows here. Default: standard output.")
@click.option(
    "--format", "format_", metavar="NAME", help="Format of the rows. Default: recognised row by row."
)
@click.option("--normalise", is_flag=True, help="Scores with mean 0 and deviation 1 on the training data.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def command(
    file: str, model: str, out: str | None, format_: str | None, normalise: bool, as_json: bool
) -> None:
    """Score the answers in FILE with a reward model: the higher, the better.

    FILE holds conversations, whose last answer gets a "score", or preferences, which get "scores" of both
    answers and their "margin", in any format that a recipe reads (xinglin list formats). The rows come out as
    JSON Lines; what the scores look like, and how often the chosen answer has the higher one, goes to
    standard error.

    \b
    A score means nothing by itself: compare answers to the same prompt. With --normalise, 0 is a usual
    answer of the reward model's training data and 1 is better than most of them.

    \b
    Examples:
      xinglin score answers.jsonl --model runs/demo/stages/reward --out scored.jsonl
      xinglin score preferences.jsonl --model runs/demo --json --out scored.jsonl
      xinglin score answers.jsonl --model runs/demo | jq -c '[.score, .messages[-1].content]' | sort
    """
    from xinglin.evaluate import scoring

    stdout = sys.stdout
    to_stdout = contextlib.nullcontext(lambda row: print(json.dumps(row, ensure_ascii=False), file=stdout))
    with (
        contextlib.redirect_stdout(sys.stderr),
        scoring.json_lines(Path(out)) if out else to_stdout as write,
    ):
        summary = scoring.score(file, model=model, write=write, format=format_, normalise=normalise)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False, indent=2), err=not out)
        return
    for line in _lines(summary):
        click.echo(line, err=True)


def _lines(summary: dict[str, Any]) -> list[str]:
    left_out = sum(summary["left_out"].values())
    lines = [f"{summary['rows']} rows scored, {left_out} left out"]
    lines += [
        f"  {count} {reason}, such as {summary['examples'][reason]}"
        for reason, count in summary["left_out"].items()
    ]
    lines.append(f"scores: mean {summary['mean']:.3f}, deviation {summary['std']:.3f}")
    lines.append(
        "  "
        + "  ".join(
            f"{name} {summary[name]:.3f}" for name in ("min", "p5", "p25", "p50", "p75", "p95", "max")
        )
    )
    if pairs := summary.get("pairs"):
        right, length, error = pairs["accuracy"], pairs["length"], pairs["calibration"]["error"]
        lines.append(
            f"chosen above rejected: {right['value']:.1%} [{right['low']:.1%}, {right['high']:.1%}] of "
            f"{pairs['pairs']} pairs, mean margin {pairs['margin']['value']:.3f}"
        )
        lines.append(
            f"score and length correlate by {length['correlation']:.2f}; calibration error {error:.1%}"
        )
    return lines
