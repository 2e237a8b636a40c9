"""The command line. A command's module is imported when the command is used, so that ``--help`` answers at once."""

import importlib

import click

from xinglin import __version__
from xinglin.errors import Interrupted, XinglinError

COMMANDS = {
    "run": "Run a recipe, or go on with an interrupted run.",
    "show": "What a run did: stages, metrics, tests, data.",
    "chat": "Talk to a trained model.",
    "data": "What is in a folder of data: rows, formats, lengths, copies, leaks, personal data.",
    "score": "Score the answers in a file with a reward model.",
    "list": "Stages, formats, benchmarks, … and their settings.",
    "doctor": "Check this installation and this machine.",
}


class LazyGroup(click.Group):
    """Knows its commands by name; turns errors of the user into one message and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"xinglin.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except XinglinError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            ctx.exit(error.exit_code)
        except (Interrupted, KeyboardInterrupt):
            ctx.exit(Interrupted.exit_code)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: xinglin run recipes/tiny.yaml",
)
@click.version_option(__version__, prog_name="xinglin")
def main() -> None:
    """xinglin (杏林) turns an open language model into a medical one, and proves it.

    One recipe describes the whole chain: data, pretraining, fine-tuning, preferences, merging, evaluation.
    """
