"""`coupled backfill`: many partitions of prompts into one dataset, and what became of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from coupled_core.config import BackfillSettings, ExecutionConfig, RunConfig
from coupled_core.errors import ConfigError
from flows.cli.command import argument, command, option
from flows.cli.setting import Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import ExitCode, Terminal

if TYPE_CHECKING:  # what imports arrow or torch waits until the command runs
    from coupled_core.runs.backfill import Backfill
    from coupled_core.runs.backfill_forecast import PartitionForecast

_ACTIONS = ("status", "pause", "resume", "cancel", "retry-failed")
_NOTHING = "no partition fits: nothing to do"
_FORESEEN = ("partition", "what", "groups", "pairs", "USD", "GPU hours", "disk", "why")


@command(
    examples="""
    coupled backfill autumn --prompts "sets/*.parquet" --dry-run
    coupled backfill autumn --prompts s3://bucket/sets --by date --first 2026-09-01 --newest-first
      --max-parallel 4 --output s3://bucket/pairs
    coupled backfill status autumn --dataset s3://bucket/pairs
    coupled backfill retry-failed autumn --dataset s3://bucket/pairs
    """,
)
def backfill(
    terminal: Terminal,
    config: RunConfig,
    partitions: Annotated[BackfillSettings, Offer(section="backfill")],
    execution: Annotated[ExecutionConfig, Offer(section="execution")],
    words: Annotated[
        list[str],
        argument("[ACTION] NAME", f"A name for it, after one of {', '.join(_ACTIONS)} or none."),
    ],
    dry_run: Annotated[
        bool, option("Say what would be done and cost; write and spend nothing.", "--dry-run")
    ] = False,
) -> None:
    """Build many partitions of prompts into one dataset, each by an ordinary build.

    Its state lies in the dataset: the same command goes on after a kill, and says why where nothing
    is to do. Given on several machines it divides the partitions among them. status, pause, resume,
    cancel and retry-failed work from any machine; a pause or cancellation takes effect after the
    partition at hand, and a cancellation is for good. A cap such as --max-llm-usd holds for each
    partition.
    """
    from coupled_core.runs.backfill import open_backfill, plan_backfill

    *action, name = words
    # An action whose name was forgotten must not begin a build of that name.
    if len(action) > 1 or (action[0] not in _ACTIONS if action else name in _ACTIONS):
        raise ConfigError(f"expected NAME, or one of {', '.join(_ACTIONS)} and NAME; got {words}")
    found = open_backfill(config, name)
    if action:
        _act(terminal, action[0], found, partitions, execution)
        return
    if dry_run:
        from coupled_core.runs.backfill_forecast import forecast_backfill

        rows = list(forecast_backfill(found, plan_backfill(config, partitions)))
        document = {"backfill": name, "partitions": [asdict(row) for row in rows]}
        terminal.answer(_render_forecast(rows), document)
        return
    _run(terminal, found, config, partitions, execution)


def _act(
    terminal: Terminal,
    action: str,
    found: "Backfill",
    partitions: BackfillSettings,
    execution: ExecutionConfig,
) -> None:
    from coupled_core.runs.backfill import Control

    plan = found.read_plan()
    if action in ("resume", "retry-failed"):
        found.resume()
        reprocess = "failed" if action == "retry-failed" else "missing"
        # How many at a time is a matter of this machine; what they are was asked for before.
        changed = {"reprocess": reprocess, "max_parallel": partitions.max_parallel}
        settings = plan.settings.model_copy(update=changed)
        _run(terminal, found, plan.config, settings, execution)
        return
    if action != "status":
        found.control = Control.PAUSED if action == "pause" else Control.CANCELLED
    rows = [asdict(found.describe(each)) for each in plan.partitions]
    document = {"backfill": found.name, "control": found.control, "partitions": rows}
    terminal.answer(f"{found.name}: {found.control}\n{_render(rows)}", document)


def _run(
    terminal: Terminal,
    found: "Backfill",
    config: RunConfig,
    partitions: BackfillSettings,
    execution: ExecutionConfig,
) -> None:
    kept = "what is finished is kept, and so is the state of the backfill"
    with flow_session(terminal, "flows.backfill", kept):
        from flows.backfill import backfill as flow

        rows: list[dict[str, Any]] = flow(
            found.name,
            prompts=list(config.prompts.uris),
            output=config.output.uri,
            partitions=partitions,
            execution=execution,
            config=config,
        )
    terminal.answer(_render(rows), {"backfill": found.name, "partitions": rows})
    if failed := [row for row in rows if row["outcome"] == "failed"]:
        terminal.complain(
            f"error: {len(failed)} of {len(rows)} partitions failed; "
            f"`{found.retry_command}` tries them again"
        )
        raise SystemExit(ExitCode.SHARDS_FAILED)


def _render(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [(row["partition"], row["outcome"], row["why"]) for row in rows]
    if not lines:
        return _NOTHING
    return _align([("partition", "what", "why"), *lines], texts=3)


def _render_forecast(rows: Sequence["PartitionForecast"]) -> str:
    if not rows:
        return _NOTHING
    lines = [_describe(row.partition, row.outcome, [row], row.why) for row in rows]
    to_build = [row for row in rows if row.outcome == "to build"]
    total = _describe("total", f"{len(to_build)} to build", to_build, "")
    return _align([_FORESEEN, *lines, total], texts=2)


def _describe(
    name: str, outcome: str, rows: Sequence["PartitionForecast"], why: str
) -> tuple[str, ...]:
    known = [row.gpu_hours for row in rows if row.gpu_hours is not None]
    total = math.fsum(known)
    hours = "unknown" if len(known) < len(rows) else f"{total:,.2f}"
    return (
        name,
        outcome,
        f"{sum(row.groups for row in rows):,}",
        f"{sum(row.pairs for row in rows):,}",
        f"{sum(row.usd for row in rows):,.2f}",
        "<0.01" if hours == "0.00" and total else hours,
        f"{sum(row.disk_bytes for row in rows) / 1e6:,.1f} MB",
        why,
    )


def _align(lines: Sequence[Sequence[str]], *, texts: int) -> str:
    """Return a table whose first columns are texts, all but the last others numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        [
            cell.ljust(width) if at < texts or at == len(line) - 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(cells).rstrip() for cells in padded)
