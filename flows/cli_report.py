"""Commands of `coupled`: pages for people. Nothing heavy is imported before one runs."""

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
