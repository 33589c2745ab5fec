"""The command line: `coupled`. Nothing heavy is imported before a command runs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from coupled_core.errors import StorageError
from flows.cli.backfill import backfill
from flows.cli.build import build
from flows.cli.command import SETTINGS, Command, option
from flows.cli.dataset.compact import compact
from flows.cli.dataset.gc import gc
from flows.cli.dataset.history import diff, files, rollback, show, snapshots
from flows.cli.dataset.query import query
from flows.cli.dataset.recut import dedup, recut, repartition
from flows.cli.dataset.regen import regen
from flows.cli.dataset.verify import verify
from flows.cli.doctor import doctor
from flows.cli.export import export
from flows.cli.generate import generate
from flows.cli.init import init
from flows.cli.pages import report, review
from flows.cli.plan import plan
from flows.cli.publish import publish
from flows.cli.research.compare import check_scorers, compare
from flows.cli.research.optimize import optimize
from flows.cli.terminal import EXIT_CODES, ExitCode, Terminal, told_when_output_fails
from flows.cli.validate import validate

_LOOKS = (show, query, files, snapshots, diff, rollback, verify)
_CHANGES = (recut, dedup, repartition, compact, regen, gc)
_COMMANDS: dict[str, tuple[Command, ...]] = {
    "Make a dataset": (init, doctor, validate, plan, build, backfill, generate),
    "Look after a dataset": (*_LOOKS, *_CHANGES),
    "Hand a dataset on": (report, review, export, publish),
    "Research": (optimize, compare, check_scorers),
}
_ENVIRONMENT = (
    "[bold]Environment[/]: PREFECT_API_URL names a running Prefect server (else a temporary one is "
    "started); AWS_PROFILE, AWS_ENDPOINT_URL and the rest of boto3's chain reach s3:// locations; "
    "ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL) let a language model split prompts, "
    "which happens only with --splitter anthropic; "
    "HF_TOKEN and HF_HOME serve gated models and their cache."
)
_EXAMPLES = """[bold]Examples[/]

coupled build
coupled init prompts.csv
coupled build --prompts prompts.csv --output pairs --min-combined 1.2
coupled backfill autumn --prompts "sets/*.parquet" --output pairs --dry-run
coupled verify pairs
coupled export huggingface --dataset pairs --output pairs-hub"""

app = typer.Typer(
    name="coupled",
    help="Make datasets of image pairs that share a background and differ in what stands in it.\n\n"
    "`coupled COMMAND --help` explains a command. The dataset is the first argument or --dataset; "
    "without either it is ./coupled-dataset.",
    epilog="\n\n".join([_EXAMPLES, SETTINGS, _ENVIRONMENT, f"[bold]Exit codes[/]: {EXIT_CODES}"]),
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        _command.add_to(app, _panel)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from coupled_core.version import package_version

        typer.echo(f"coupled-images {package_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, option("Print the version.", "--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    # Python puts the current folder before all packages in the processes that we start, workers of
    # pools among them; what lies in a user's folder must never be taken for our code.
    os.environ["PYTHONSAFEPATH"] = "1"
    _open_standard_streams()
    try:
        with told_when_output_fails():  # help pages are written outside of any command
            app()
    except StorageError as error:
        Terminal().complain(f"error: {error}")
        raise SystemExit(ExitCode.STORAGE) from error


def _open_standard_streams() -> None:
    """Fill the places of streams that were closed: the next file opened would get what we print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest place that is free
    # Python has none for a stream that was closed, and would print errors to the other one.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - till the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


if __name__ == "__main__":
    main()
