"""Commands of `coupled`: datasets in the formats of their readers. Imports nothing heavy."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from coupled_core.export.format import describe_formats
from flows.cli.cli_options import AsJson, Debug

_FORMAT_LIST = "\n\n".join(f"[bold]{name}[/]: {text}" for name, text in describe_formats().items())
_EPILOG = f"""[bold]Formats[/]

{_FORMAT_LIST}

[bold]Examples[/]

coupled export huggingface --dataset coupled-dataset --output pairs-hub

coupled export ai-toolkit --dataset s3://bucket/pairs --output /data/pairs --directions forward

[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage, 4 storage or a damaged dataset,
130 interrupted (run it again).
"""


def export(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="One of the formats below.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="Folder, new or empty; or an export to continue.")],
    dataset: Annotated[str, typer.Option(help="Folder or s3:// location.")] = "coupled-dataset",
    snapshot: Annotated[
        str | None, typer.Option(help="Snapshot id. Default: the current one.")
    ] = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        typer.Option(help="Default: all where a format keeps partitions apart, else train."),
    ] = None,
    directions: Annotated[
        Literal["both", "forward", "backward"],
        typer.Option(help="Forward edits image 0 into image 1, backward 1 into 0."),
    ] = "both",
    include_entity_swap: Annotated[
        bool, typer.Option("--include-entity-swap", help="In flf2v: swaps of an entity too.")
    ] = False,
    max_shard_bytes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Image bytes a shard, or a step of a folder. Default: the format's."
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the kept pairs of a dataset in the format of a trainer or reader.

    Each pair serves both ways. What was written is read back before export.json marks it complete.

    The same command continues an export that was interrupted, and does nothing when it is complete.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from coupled_core.export.format import find_format
        from coupled_core.export.plan import select_edits
        from flows.cli.export import export_and_report

        export_format = find_format(format_name)
        selection = select_edits(
            export_format,
            partition=split,
            directions=directions,
            include_entity_swaps=include_entity_swap,
            max_shard_bytes=max_shard_bytes,
        )
        export_and_report(export_format, selection, dataset, snapshot, output, terminal=terminal)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    app.command(epilog=_EPILOG, rich_help_panel="Dataset")(export)
