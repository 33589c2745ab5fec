"""Commands of `coupled`: what a dataset holds, whether it is whole, how it is re-cut and cleaned.

Nothing heavy is imported before one runs.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.cli_options import AsJson, Debug

_PANEL = "Dataset"
EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage, 3 model unavailable, 4 storage, or "
    "a dataset that is damaged or forbids it, 130 interrupted."
)
_SNAPSHOT_NAMES = (
    "[bold]Snapshots[/] are named by the beginning of their id, or: current; parent (what current "
    "followed); previous (what was current before the last move)."
)
_EPILOG = f"{_SNAPSHOT_NAMES}\n\n{EXIT_CODES}"


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


Dataset = Annotated[str, _option("A folder or s3://BUCKET/PREFIX.", "--dataset")]
SingleWriter = Annotated[
    bool,
    _option(
        "Promise that nothing else writes there: for stores that ignore conditional writes.",
        "--single-writer",
    ),
]
_DEFAULT = "coupled-dataset"


def snapshots(dataset: Dataset = _DEFAULT, as_json: AsJson = False, debug: Debug = False) -> None:
    """List every snapshot: when it was made, by what, from which, how many rows and kept pairs."""
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.history import list_and_report

        list_and_report(dataset, terminal)


def diff(
    before: Annotated[str, typer.Argument(help="A snapshot.")] = "parent",
    after: Annotated[str, typer.Argument(help="A snapshot.")] = "current",
    dataset: Dataset = _DEFAULT,
    examples: Annotated[int, _option("Most pairs to name.", min=0)] = 20,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two snapshots: pairs added and removed, decisions changed, settings that differ."""
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.history import diff_and_report

        diff_and_report(dataset, before, after, examples, terminal)


def rollback(
    snapshot: Annotated[str, typer.Argument(help="Where to return to.")],
    dataset: Dataset = _DEFAULT,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Let readers see an earlier snapshot again. Nothing is lost: `rollback previous` undoes it.

    When another writer changes the dataset at the same moment, nothing happens.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.history import roll_back_and_report

        roll_back_and_report(dataset, snapshot, terminal)


def verify(
    dataset: Dataset = _DEFAULT,
    snapshot: Annotated[str, _option("Which state of the dataset.")] = "current",
    threads: Annotated[int, _option("Threads that hash and decode images.", min=1)] = 4,
    strict: Annotated[
        bool,
        _option("Fail where near-identical backgrounds are in different splits.", "--strict"),
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read everything that a snapshot names and name everything that is wrong with it.

    Parts: there, size, SHA-256, readable, rows. Rows: unique pair_id, kept within the thresholds of
    its run, images where the row says. Images: hash, decodable, both of one size, masks as
    measured. Together: no background and no group in two splits, duplicates name a pair that is
    there, the funnel adds up. Backgrounds in two splits that differ by a word or two are named:
    they may be a leak, or two places.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.verify import verify_and_report

        verify_and_report(dataset, snapshot, threads, terminal, is_strict=strict)


def gc(
    dataset: Dataset = _DEFAULT,
    keep_snapshots: Annotated[
        int | None, _option("Remove snapshots beyond so many of the newest.", min=1)
    ] = None,
    older_than: Annotated[
        float | None, _option("Remove snapshots older than so many days.", min=0)
    ] = None,
    grace: Annotated[
        float, _option("Hours in which nothing that was written is removed.", min=2)
    ] = 24.0,
    abandoned_work: Annotated[
        float | None,
        _option("Also remove work of unfinished shards, untouched for so many days.", min=0),
    ] = None,
    apply: Annotated[
        bool, _option("Remove it. Without: only say what would be removed.", "--apply/--dry-run")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what nothing names any more, or remove it: parts, finished work, leftovers of crashes.

    The current snapshot, the previous one, and all that a snapshot that stays or unfinished work
    names are never touched. Without --keep-snapshots and --older-than every snapshot stays; with
    both, one goes only if both let it.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.gc import collect_and_report

        options = (keep_snapshots, older_than, grace, abandoned_work)
        collect_and_report(dataset, *options, is_real=apply, terminal=terminal)


def recut(
    dataset: Dataset = _DEFAULT,
    min_combined: Annotated[float | None, _option("Least combined metric.")] = None,
    max_mask_fraction: Annotated[float | None, _option("Largest share of a mask.")] = None,
    min_mask_fraction: Annotated[float | None, _option("Smallest share of a mask.")] = None,
    min_pixel_mse: Annotated[float | None, _option("Least difference of the images.")] = None,
    leave_out: Annotated[
        bool,
        _option("Leave pairs dropped whose images were never stored.", "--leave-out"),
    ] = False,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Put other thresholds over all rows: a new snapshot, without generating anything.

    Only manifest parts are written. Images of dropped pairs are stored by `coupled build
    --store-dropped` alone: without it a dataset can only be cut more strictly than it was built,
    and back.
    """
    given = {
        "min_combined": min_combined,
        "max_mask_fraction": max_mask_fraction,
        "min_mask_fraction": min_mask_fraction,
        "min_pixel_mse": min_pixel_mse,
    }
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.recut import recut_and_report

        thresholds = {name: value for name, value in given.items() if value is not None}
        recut_and_report(
            dataset, thresholds, terminal, leave_out=leave_out, single_writer=single_writer
        )


def regen(
    pair_id: Annotated[str, typer.Argument(help="The beginning of a pair_id.")],
    dataset: Dataset = _DEFAULT,
    snapshot: Annotated[str, _option("Which state of the dataset.")] = "current",
    base_model: Annotated[
        str | None, _option("Where the base model is now, if it was a folder that moved.")
    ] = None,
    schedule: Annotated[
        str | None, _option("Where the schedule is now, if its file moved.")
    ] = None,
    device: Annotated[str, _option("auto, cuda, cuda:N, mps or cpu.")] = "auto",
    picture: Annotated[
        Path | None, _option("PNG of the new images, below the stored ones.", "-o", "--output")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make one pair again from its manifest row and say how far the images are from the stored.

    Refused where the same model revision, schedule or settings are not to be had.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.regen import regenerate_and_report

        places = {"base_model": base_model, "schedule": schedule, "device": device}
        regenerate_and_report(dataset, snapshot, pair_id, places, picture, terminal)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    for command in (snapshots, diff, rollback, verify, gc, recut, regen):
        app.command(rich_help_panel=_PANEL, epilog=_EPILOG)(command)
