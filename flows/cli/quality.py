"""`coupled dedup` and `coupled resplit`: decisions that need all pairs of a dataset."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.dedup import drop_duplicates
from coupled_core.dataset.upkeep.partition import repartition
from coupled_core.dataset.upkeep.rewrite import RewriteReport
from coupled_core.errors import ConfigError
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def dedup_and_report(
    dataset: str, thresholds: Mapping[str, Any], terminal: Terminal, *, single_writer: bool
) -> None:
    """Drop near-duplicates and print how many.

    Raises:
        ConfigError: a threshold is out of its range.
        DatasetError: there is no dataset, and other reasons.
    """
    try:
        config = DuplicatesConfig.model_validate(dict(thresholds))
    except ValidationError as error:
        problem = error.errors()[0]
        option = f"--{'-'.join(str(problem['loc'][0]).split('_'))}"
        raise ConfigError(f"{option}: {problem['msg']} (got {problem['input']!r})") from error
    store = open_store(dataset)
    with terminal.progress():
        report = drop_duplicates(store, config, single_writer=single_writer)
    terminal.say(_render(report))
    terminal.print_json(
        {
            "dataset": store.uri,
            "thresholds": config.model_dump(exclude={"drop"}),
            **_plain(report.snapshot),
            "num_dropped": report.num_dropped,
            "num_kept": report.num_kept,
        }
    )


def resplit_and_report(dataset: str, terminal: Terminal, *, single_writer: bool) -> None:
    """Partition a dataset anew and print how many rows moved.

    Raises:
        DatasetError: there is no dataset, and other reasons.
    """
    store = open_store(dataset)
    with terminal.progress():
        report = repartition(store, single_writer=single_writer)
    if report.snapshot is None:
        terminal.say("every row is in its partition already: the dataset stays as it is")
    else:
        moved = f"{report.num_changed:,} rows moved to another partition"
        terminal.say(f"snapshot {report.snapshot.snapshot_id}: {moved}")
    terminal.print_json(
        {"dataset": store.uri, **_plain(report.snapshot), "num_moved": report.num_changed}
    )


def _render(report: RewriteReport) -> str:
    if report.snapshot is None:
        return "no decision changes: the dataset stays as it is"
    return (
        f"snapshot {report.snapshot.snapshot_id}: {report.num_dropped:,} pairs dropped as "
        f"duplicates, {report.num_kept:,} kept again; "
        f"{report.snapshot.funnel.pairs_kept:,} kept in all"
    )


def _plain(snapshot: Snapshot | None) -> dict[str, Any]:
    return {
        "snapshot_id": snapshot.snapshot_id if snapshot else None,
        "funnel": snapshot.funnel.to_dict() if snapshot else None,
    }
