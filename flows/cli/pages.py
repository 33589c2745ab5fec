"""`coupled report` and `review`: one page about a dataset, one on which a person decides."""

from pathlib import Path
from typing import Annotated

from coupled_core.documents import MAX_STORED_BYTES, DocumentError, read_file
from coupled_core.errors import ConfigError
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, Writing, command, option
from flows.cli.output import write_file
from flows.cli.terminal import Terminal

_Page = Annotated[Path, option("The page: one HTML file.", "--output", "-o")]
_NumPairs = Annotated[int, option("Most pairs to show.", "--pairs", min=1, max=1000)]


@command(
    examples="""
    coupled report
    coupled report s3://bucket/pairs --pairs 1000 -o report.html --survival survival.png
    """
)
def report(
    terminal: Terminal,
    store: ObjectStore,
    snapshot: SnapshotName = "current",
    output: _Page = Path("report.html"),
    num_pairs: _NumPairs = 240,
    survival: Annotated[
        Path | None,
        option("PNG with pairs kept as a function of each threshold, beside the page."),
    ] = None,
) -> None:
    """Write one page about a dataset: scores, thresholds, costs, and a gallery to filter and sort.

    One HTML file with everything in it; it loads nothing from anywhere.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.report.numbers import format_bytes
    from coupled_core.report.report import make_report

    with terminal.progress():
        made = make_report(store, find_snapshot(store, snapshot), num_pairs)
    page = made.page.encode()
    write_file(output, page)
    if survival is not None:
        write_file(survival, made.survival_picture)
    lines = [f"{output.absolute()}: {made.num_shown} pairs shown, {format_bytes(len(page))}"]
    lines += [str(survival.absolute())] if survival else []
    document = {
        **made.summary,
        "report": str(output.absolute()),
        "size_bytes": len(page),
        "num_shown": made.num_shown,
        "survival_picture": str(survival.absolute()) if survival else None,
    }
    terminal.answer("\n".join(lines), document)


@command(
    examples="""
    coupled review pairs -o review.html
    coupled review pairs --apply decisions.json
    """
)
def review(
    terminal: Terminal,
    store: ObjectStore,
    writing: Writing,
    output: _Page = Path("review.html"),
    num_pairs: _NumPairs = 500,
    apply: Annotated[
        Path | None, option("Decisions that the page saved: commit them as a new snapshot.")
    ] = None,
) -> None:
    """Write a page on which a person keeps or drops pairs, or apply what a person decided there.

    The page shows pairs that nobody has reviewed yet, those nearest to the threshold first. It
    works with the keyboard, remembers where you were, and saves a file of decisions.
    """
    if apply is not None:
        _apply_decisions(terminal, store, apply, single_writer=writing.single_writer)
    else:
        _write_review(terminal, store, output, num_pairs)


def _write_review(terminal: Terminal, store: ObjectStore, output: Path, num_pairs: int) -> None:
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.report.numbers import format_bytes
    from coupled_core.report.review_page import make_review_page

    snapshot = find_snapshot(store, "current")
    with terminal.progress():
        made = make_review_page(store, snapshot, num_pairs)
    page = made.page.encode()
    write_file(output, page)
    text = (
        f"{output.absolute()}: {made.num_shown} of {made.num_waiting} pairs that wait for review, "
        f"{format_bytes(len(page))}\nopen it in a browser, decide, save the decisions, then run\n"
        f"coupled review --dataset {store.uri} --apply DECISIONS.json"
    )
    document = {
        "review": str(output.absolute()),
        "snapshot_id": snapshot.snapshot_id,
        "num_shown": made.num_shown,
        "num_waiting": made.num_waiting,
        "size_bytes": len(page),
    }
    terminal.answer(text, document)


def _apply_decisions(
    terminal: Terminal, store: ObjectStore, path: Path, *, single_writer: bool
) -> None:
    from coupled_core.dataset.upkeep.review import apply_decisions, parse_decisions

    try:
        decisions = parse_decisions(read_file(path, MAX_STORED_BYTES), str(path))
    except DocumentError as error:
        raise ConfigError(f"cannot read --apply {path}: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read --apply {path}: {error.strerror}") from error
    with terminal.progress():
        done = apply_decisions(store, decisions, single_writer=single_writer)
    text = f"nothing to do: {store.uri} holds these {done.num_decisions} decisions"
    if done.snapshot is not None:
        text = (
            f"snapshot {done.snapshot.snapshot_id}: {done.num_decisions} decisions, "
            f"{done.num_dropped} pairs dropped, {done.num_kept} kept that were dropped, "
            f"{done.num_confirmed} confirmed\n\n{done.snapshot.funnel.render()}"
        )
    document = {
        "dataset": store.uri,
        "snapshot_id": done.snapshot.snapshot_id if done.snapshot else None,
        "num_decisions": done.num_decisions,
        "num_dropped": done.num_dropped,
        "num_kept": done.num_kept,
        "num_confirmed": done.num_confirmed,
    }
    terminal.answer(text, document)
