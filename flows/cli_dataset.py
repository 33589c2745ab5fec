"""Commands of `coupled`: what a dataset holds, whether it is whole, and how it is re-cut. Nothing heavy is imported before one runs."""

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
