"""`coupled report` and `review`: one page about a dataset, one on which a person decides."""

from pathlib import Path
from typing import Annotated

import typer

from coupled_core.config import OutputConfig
from coupled_core.errors import ConfigError
from flows.cli.command import SNAPSHOTS, Dataset, Snapshot, command
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

_Page = Annotated[Path, typer.Option("--output", "-o", help="The page: one HTML file.")]
_NumPairs = Annotated[int, typer.Option("--pairs", help="Most pairs to show.", min=1, max=1000)]


@command(
    SNAPSHOTS,
    examples="""
    coupled report

    coupled report s3://bucket/pairs --pairs 1000 -o report.html --survival survival.png
    """,
)
def report(
    terminal: Terminal,
    dataset: Dataset,
    snapshot: Snapshot = "current",
    output: _Page = Path("report.html"),
    num_pairs: _NumPairs = 240,
    survival: Annotated[
        Path | None,
        typer.Option(help="PNG with pairs kept as a function of each threshold, beside the page."),
    ] = None,
) -> None:
    """Write one page about a dataset: scores, thresholds, costs, and a gallery to filter and sort.

    One HTML file with everything in it; it loads nothing from anywhere.
    """
    from coupled_core.dataset.upkeep.history import find_snapshot
    from coupled_core.report.numbers import format_bytes
    from coupled_core.report.report import make_report
    from coupled_core.storage.store import open_store

    store = open_store(dataset)
    with terminal.progress():
        made = make_report(store, find_snapshot(store, snapshot), num_pairs)
    _write_file(output, made.page.encode())
    if survival is not None:
        _write_file(survival, made.survival_picture)
    size = output.stat().st_size
    terminal.say(f"{output.absolute()}: {made.num_shown} pairs shown, {format_bytes(size)}")
    if survival is not None:
        terminal.say(str(survival.absolute()))
    terminal.print_json(
        {
            **made.summary,
            "report": str(output.absolute()),
            "size_bytes": size,
            "num_shown": made.num_shown,
            "survival_picture": None if survival is None else str(survival.absolute()),
        }
    )


@command(
    examples="""
    coupled review pairs -o review.html

    coupled review pairs --apply decisions.json
    """,
)
def review(
    terminal: Terminal,
    dataset: Dataset,
    writing: Annotated[OutputConfig, Offer(section="output", only=("output.single_writer",))],
    output: _Page = Path("review.html"),
    num_pairs: _NumPairs = 500,
    apply: Annotated[
        Path | None,
        typer.Option(help="Decisions that the page saved: commit them as a new snapshot."),
    ] = None,
) -> None:
    """Write a page on which a person keeps or drops pairs, or apply what a person decided there.

    The page shows pairs that nobody has reviewed yet, those nearest to the threshold first. It
    works with the keyboard, remembers where you were, and saves a file of decisions.
    """
    if apply is not None:
        _apply_decisions(terminal, dataset, apply, single_writer=writing.single_writer)
    else:
        _write_review(terminal, dataset, output, num_pairs)


def _write_review(terminal: Terminal, dataset: str, output: Path, num_pairs: int) -> None:
    from coupled_core.dataset.upkeep.history import find_snapshot
    from coupled_core.report.numbers import format_bytes
    from coupled_core.report.review_page import make_review_page
    from coupled_core.storage.store import open_store

    store = open_store(dataset)
    snapshot = find_snapshot(store, "current")
    with terminal.progress():
        made = make_review_page(store, snapshot, num_pairs)
    _write_file(output, made.page.encode())
    size = output.stat().st_size
    terminal.say(
        f"{output.absolute()}: {made.num_shown} of {made.num_waiting} pairs that wait for review, "
        f"{format_bytes(size)}\nopen it in a browser, decide, save the decisions, then run\n"
        f"coupled review --dataset {dataset} --apply DECISIONS.json"
    )
    terminal.print_json(
        {
            "review": str(output.absolute()),
            "snapshot_id": snapshot.snapshot_id,
            "num_shown": made.num_shown,
            "num_waiting": made.num_waiting,
            "size_bytes": size,
        }
    )


def _apply_decisions(terminal: Terminal, dataset: str, path: Path, *, single_writer: bool) -> None:
    from coupled_core.dataset.upkeep.review import apply_decisions, parse_decisions
    from coupled_core.storage.store import open_store

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read --apply {path}: {error.strerror}") from error
    store, decisions = open_store(dataset), parse_decisions(data, str(path))
    with terminal.progress():
        done = apply_decisions(store, decisions, single_writer=single_writer)
    if done.snapshot is None:
        terminal.say(f"nothing to do: {store.uri} holds these {done.num_decisions} decisions")
    else:
        terminal.say(
            f"snapshot {done.snapshot.snapshot_id}: {done.num_decisions} decisions, "
            f"{done.num_dropped} pairs dropped, {done.num_kept} kept that were dropped, "
            f"{done.num_confirmed} confirmed\n\n{done.snapshot.funnel.render()}"
        )
    terminal.print_json(
        {
            "dataset": store.uri,
            "snapshot_id": done.snapshot.snapshot_id if done.snapshot else None,
            "num_decisions": done.num_decisions,
            "num_dropped": done.num_dropped,
            "num_kept": done.num_kept,
            "num_confirmed": done.num_confirmed,
        }
    )


def _write_file(path: Path, data: bytes) -> None:
    """Write a result where the user asked for it.

    Raises:
        ConfigError: that is not possible.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; name another with -o") from error
