"""Commands of `coupled`: pages for people. Nothing heavy is imported before one runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.cli_options import AsJson, Debug

_EXIT_CODES = (
    "[bold]Exit codes[/]: 0 done, 1 unexpected, 2 wrong usage or bad input, 4 storage or dataset, "
    "130 interrupted."
)
_REPORT_EXAMPLES = """[bold]Examples[/]

coupled report

coupled report --dataset s3://bucket/pairs --pairs 1000 -o report.html --survival survival.png
"""
_REVIEW_EXAMPLES = """[bold]Examples[/]

coupled review --dataset pairs -o review.html

coupled review --dataset pairs --apply decisions.json
"""
_PANEL = "Dataset"


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PANEL, **more)


Dataset = Annotated[str, _option("A folder or s3://BUCKET/PREFIX.", "--dataset")]
Snapshot = Annotated[
    str | None, _option("Which state of the dataset. Default: the current one.", "--snapshot")
]
Pairs = Annotated[int, _option("Most pairs to show.", "--pairs", min=1, max=1000)]
SurvivalPicture = Annotated[
    Path | None,
    _option("PNG with pairs kept as a function of each threshold, beside the page.", "--survival"),
]
Apply = Annotated[
    Path | None, _option("Decisions that the page saved: commit them as a new snapshot.", "--apply")
]
SingleWriter = Annotated[
    bool,
    _option(
        "Promise that nothing else writes there: for stores that ignore conditional writes.",
        "--single-writer",
    ),
]


def _page(default: str) -> Any:
    return typer.Option("-o", "--output", help=f"The page. Default: {default}.")


def report(
    dataset: Dataset = "coupled-dataset",
    snapshot: Snapshot = None,
    output: Annotated[Path, _page("report.html")] = Path("report.html"),
    pairs: Pairs = 240,
    survival: SurvivalPicture = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write one page about a dataset: scores, thresholds, costs, and a gallery to filter and sort.

    One HTML file with everything in it; it loads nothing from anywhere.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli.report import report_and_say

        report_and_say(dataset, snapshot, output, pairs, survival, terminal)


def review(
    dataset: Dataset = "coupled-dataset",
    output: Annotated[Path, _page("review.html")] = Path("review.html"),
    pairs: Pairs = 500,
    apply: Apply = None,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a page on which a person keeps or drops pairs, or apply what a person decided there.

    The page shows pairs that nobody has reviewed yet, those nearest to the threshold first. It
    works with the keyboard, remembers where you were, and saves a file of decisions.
    """
    from flows.cli.terminal import Terminal, reported_errors

    with reported_errors(Terminal(as_json=as_json, debug=debug)) as terminal:
        from flows.cli import review as review_command

        if apply is not None:
            review_command.apply_and_say(dataset, apply, terminal, single_writer=single_writer)
        else:
            review_command.write_and_say(dataset, output, pairs, terminal)


def add_commands(app: typer.Typer) -> None:
    """Add this file's commands to the command line."""
    app.command(rich_help_panel=_PANEL, epilog=f"{_REPORT_EXAMPLES}\n\n{_EXIT_CODES}")(report)
    app.command(rich_help_panel=_PANEL, epilog=f"{_REVIEW_EXAMPLES}\n\n{_EXIT_CODES}")(review)
