"""`coupled build`: run the flow, then say what came out and where it lies."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coupled_core.config import RunConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.runs.summary import RunSummary
from flows.cli.failures import ExitCode, ShardsFailedError
from flows.cli.prefect_session import prefect_session
from flows.cli.terminal import Terminal


def build_and_report(config: RunConfig, terminal: Terminal) -> None:
    """Build the dataset of a config and print the summary.

    Raises:
        SystemExit: 5 when shards failed, 6 when stopped by the language model or the cap on its
            cost, 130 when interrupted.
        CoupledError: nothing could be done.
    """
    started_at = time.monotonic()
    try:
        with prefect_session(), terminal.progress():
            summary = _run(config)
        summary = _with_pictures(config, summary)
    except KeyboardInterrupt as error:
        terminal.note(
            "interrupted: finished batches are kept under "
            f"{config.output.uri}/work; run the same command again to go on"
        )
        raise SystemExit(ExitCode.INTERRUPTED) from error
    wall_seconds = time.monotonic() - started_at
    terminal.say(render(summary, wall_seconds))
    terminal.print_json({**summary.to_dict(), "wall_seconds": round(wall_seconds, 1)})
    for name, why in summary.not_made.items():
        terminal.note(
            f"warning: the data are committed, but their {name} could not be made: {why}; "
            "`coupled report` makes a report of any snapshot"
        )
    if summary.failed_shards:
        for index, message in summary.failed_shards.items():
            terminal.note(f"error: shard {index} failed: {message}")
        terminal.note("run the same command again to build the failed shards")
        raise SystemExit(ExitCode.SHARDS_FAILED)
    if summary.stopped:
        terminal.note(f"error: {summary.stopped}")
        raise SystemExit(ExitCode.LLM)


def render(summary: RunSummary, wall_seconds: float) -> str:
    """Return a summary as text."""
    lines = [_headline(summary), "", Funnel.from_dict(summary.funnel).render(), ""]
    if summary.manifest_parts:
        num_parts = len(summary.manifest_parts)
        more = f" and {num_parts - 1} more" if num_parts > 1 else ""
        lines += [f"snapshot       {summary.snapshot_id}"]
        lines += [f"manifest       {summary.dataset}/{summary.manifest_parts[0]}{more}"]
    if summary.contact_sheet:
        lines += [f"contact sheet  {summary.contact_sheet}"]
    if summary.report:
        lines += [f"report         {summary.report}"]
    lines += [f"{name:<15}could not be made: {why}" for name, why in summary.not_made.items()]
    lines += _attempt_lines(summary)
    lines += [f"split by       {summary.splitter}"]
    if summary.llm_spent_usd:
        lines += [
            f"LLM cost       {summary.llm_cost_usd:.6f} USD for these rows, "
            f"{summary.llm_spent_usd:.6f} USD spent by this run so far"
        ]
    return "\n".join([*lines, f"wall time      {wall_seconds:.0f} s"])


def _run(config: RunConfig) -> RunSummary:
    from flows.build_dataset import build_dataset

    try:
        return build_dataset(config)
    except ShardsFailedError as error:
        return error.summary


def _with_pictures(config: RunConfig, summary: RunSummary) -> RunSummary:
    from coupled_core.report.report import read_summary
    from coupled_core.storage.store import open_store
    from flows.cli.placed_files import place_contact_sheet, place_report

    if summary.snapshot_id is None:
        return summary
    dataset, snapshot_id = config.output.uri, summary.snapshot_id
    numbers = read_summary(open_store(dataset), snapshot_id) or {}
    return replace(
        summary,
        contact_sheet=place_contact_sheet(dataset, snapshot_id),
        report=place_report(dataset, snapshot_id),
        survival=numbers.get("survival"),
    )


def _attempt_lines(summary: RunSummary) -> list[str]:
    counts = summary.attempts
    if counts["at_most"] == 1 and not counts["pairs_tried_again"]:
        return []
    return [
        f"attempts       up to {counts['at_most']} for each requested seed: "
        f"{counts['pairs_tried_again']:,} pairs tried again, {counts['pairs_spared']:,} spared "
        "because their groups had enough"
    ]


def _headline(summary: RunSummary) -> str:
    if summary.is_new:
        return f"built {summary.dataset}: {_rows_added(summary.funnel)} new rows"
    if summary.stopped:
        return f"nothing was added to {summary.dataset}: no shard could be split as a whole"
    if summary.failed_shards:
        return f"nothing was added to {summary.dataset}: every shard failed"
    lasting = "thresholds" if summary.attempts["at_most"] == 1 else "thresholds and attempts"
    return (
        f"nothing to do: all {summary.num_pairs} pairs are in {summary.dataset} already "
        f"(with the {lasting} of their own run; `coupled recut` puts other thresholds over all)"
    )


def _rows_added(funnel: Mapping[str, Any]) -> int:
    return int(funnel["pairs_planned"]) + int(funnel["groups_quarantined"])
