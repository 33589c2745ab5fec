"""Commands of `coupled`: what a build would do and cost. Nothing heavy is imported before one runs."""

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
