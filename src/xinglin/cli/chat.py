"""``xinglin chat``: talk to a model in the terminal."""

import click


@click.command("chat")
@click.argument("path", type=click.Path())
@click.option("--system", metavar="TEXT", help="System prompt. Default: the one of the model's template.")
@click.option("--max-tokens", default=512, show_default=True, help="Longest answer in tokens.")
@click.option("--temperature", default=0.0, show_default=True, help="0 takes the likeliest token every time.")
@click.option(
    "--top-p", default=1.0, show_default=True, help="Sample from the likeliest tokens of this total share."
)
@click.option("--seed", default=0, show_default=True, help="Of the sampling.")
def command(
    path: str, system: str | None, max_tokens: int, temperature: float, top_p: float, seed: int
) -> None:
    """Talk to the model at PATH: a run folder (its last model), a stage's folder, or any model folder.

    Inside, /help lists the commands. Answers are for research, not medical advice.

    \b
    Examples:
      xinglin chat runs/demo
      xinglin chat runs/demo/stages/sft --temperature 0.7 --top-p 0.9
      echo 'What helps against hay fever?' | xinglin chat runs/demo
    """
    from xinglin.serve import terminal

    terminal.run(
        path, system=system, max_new_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
    )
