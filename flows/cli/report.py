"""`coupled report`: one page about a dataset."""

from pathlib import Path

from coupled_core.dataset.reader import find_snapshot
from coupled_core.errors import ConfigError
from coupled_core.report.numbers import format_bytes
from coupled_core.report.report import make_report
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def report_and_say(
    dataset: str,
    snapshot_id: str | None,
    output: Path,
    num_pairs: int,
    survival: Path | None,
    terminal: Terminal,
) -> None:
    """Write the report of a snapshot and print where it lies.

    Raises:
        ConfigError: a file cannot be written.
        DatasetError: there is no such snapshot, or a part of it is missing or damaged.
    """
    store = open_store(dataset)
    with terminal.progress():
        report = make_report(store, find_snapshot(store, snapshot_id or "current"), num_pairs)
    write_file(output, report.page.encode())
    if survival is not None:
        write_file(survival, report.survival_picture)
    size = output.stat().st_size
    terminal.say(f"{output.absolute()}: {report.num_shown} pairs shown, {format_bytes(size)}")
    if survival is not None:
        terminal.say(str(survival.absolute()))
    terminal.print_json(
        {
            **report.summary,
            "report": str(output.absolute()),
            "size_bytes": size,
            "num_shown": report.num_shown,
            "survival_picture": None if survival is None else str(survival.absolute()),
        }
    )


def write_file(path: Path, data: bytes) -> None:
    """Write a result where the user asked for it.

    Raises:
        ConfigError: that is not possible.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; name another with -o") from error
