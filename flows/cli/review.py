"""`coupled review`: a page on which a person decides, and what follows from the decisions."""

from pathlib import Path

from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.review import apply_decisions, parse_decisions
from coupled_core.errors import ConfigError
from coupled_core.report.numbers import format_bytes
from coupled_core.report.review_page import make_review_page
from coupled_core.storage.store import open_store
from flows.cli.report import write_file
from flows.cli.terminal import Terminal


def write_and_say(dataset: str, output: Path, num_pairs: int, terminal: Terminal) -> None:
    """Write the review page and print where it lies.

    Raises:
        ConfigError: the file cannot be written.
        DatasetError: there is no dataset, or a part of it is missing or damaged.
    """
    store = open_store(dataset)
    snapshot = find_snapshot(store)
    with terminal.progress():
        made = make_review_page(store, snapshot, num_pairs)
    write_file(output, made.page.encode())
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


def apply_and_say(dataset: str, path: Path, terminal: Terminal, *, single_writer: bool) -> None:
    """Commit a person's decisions and print what changed.

    Raises:
        ConfigError: the file is not one of decisions.
        DatasetError: a decision cannot be carried out; then nothing is changed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read --apply {path}: {error.strerror}") from error
    store = open_store(dataset)
    with terminal.progress():
        report = apply_decisions(
            store, parse_decisions(data, str(path)), single_writer=single_writer
        )
    if report.snapshot is None:
        terminal.say(f"nothing to do: {store.uri} holds these {report.num_decisions} decisions")
    else:
        terminal.say(
            f"snapshot {report.snapshot.snapshot_id}: {report.num_decisions} decisions, "
            f"{report.num_dropped} pairs dropped, {report.num_kept} kept that were dropped, "
            f"{report.num_confirmed} confirmed\n\n{report.snapshot.funnel.render()}"
        )
    terminal.print_json(
        {
            "dataset": store.uri,
            "snapshot_id": report.snapshot.snapshot_id if report.snapshot else None,
            "num_decisions": report.num_decisions,
            "num_dropped": report.num_dropped,
            "num_kept": report.num_kept,
            "num_confirmed": report.num_confirmed,
        }
    )
