"""Commands of `coupled` that look at all pairs of a dataset together: duplicates, splits.

Nothing heavy is imported before one runs.
"""

from typing import Annotated, Any

import typer

from flows.cli.cli_dataset import EXIT_CODES, Dataset, SingleWriter
from flows.cli.cli_options import AsJson, Debug

_PANEL = "Dataset"
_DEFAULT = "coupled-dataset"


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


def dedup(
    dataset: Dataset = _DEFAULT,
    max_phash_distance: Annotated[
        int | None,
        _option("Bits of 64 in which the hashes of near images may differ.", min=0, max=16),
    ] = None,
    min_clip_similarity: Annotated[
        float | None, _option("Least cosine of the CLIP codes of near images.", min=0.0, max=1.0)
    ] = None,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Drop near-duplicate pairs of the whole dataset: a new snapshot, without generating anything.

    Both images of a pair must be near those of another, in either order. The pair with the better
    combined metric stays; each dropped one names it in `duplicate_of`. `coupled build` does this
    for new pairs as it commits them; this is for datasets of earlier versions, after re-cuts, and
    for other thresholds.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.quality import dedup_and_report

        given = {
            "max_phash_distance": max_phash_distance,
            "min_clip_similarity": min_clip_similarity,
        }
        thresholds = {name: value for name, value in given.items() if value is not None}
        dedup_and_report(dataset, thresholds, terminal, single_writer=single_writer)


def resplit(
    dataset: Dataset = _DEFAULT,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Assign every row to train, val or test by this version's rule: a new snapshot.

    Builds refuse a dataset that an earlier version split by another rule, and point here.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.quality import resplit_and_report

        resplit_and_report(dataset, terminal, single_writer=single_writer)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    for command in (dedup, resplit):
        app.command(rich_help_panel=_PANEL, epilog=EXIT_CODES)(command)
