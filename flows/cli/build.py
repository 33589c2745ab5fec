"""`coupled build`: run the flow, then say what came out and where it lies."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from coupled_core.config import ExecutionConfig, RunConfig
from coupled_core.errors import StorageError
from coupled_core.storage.open_store import open_store
from flows.cli.command import command, option
from flows.cli.setting import Offer
from flows.cli.temporary_server import flow_session
from flows.cli.terminal import ExitCode, Terminal

if TYPE_CHECKING:  # what imports arrow or torch waits until the command runs
    from coupled_core.runs.summary import RunSummary

Shards = Annotated[
    str | None,
    option(
        "Shards to build, such as 0-9,12, counted from 0: for arrays of jobs, and for stores that "
        "ignore conditional writes. There, with --single-writer, nothing is committed until a run "
        "without it does that. Default: all that no other process builds.",
        "--shards",
        metavar="<RANGES>",
    ),
]


@command(
    examples="""
    coupled build
    coupled build --prompts prompts.parquet --on-bad-row quarantine --min-combined 1.2 --json
    coupled build --profile flux-schnell --prompts s3://bucket/set.parquet
      --output s3://bucket/pairs --device cuda
    """,
)
def build(
    terminal: Terminal,
    config: RunConfig,
    execution: Annotated[ExecutionConfig, Offer(section="execution")],
    shards: Shards = None,
) -> None:
    """Build a dataset of pairs from a prompt set, or what is missing of it.

    Without options: the example prompts and the small models of the package, into
    ./coupled-dataset. The same command continues a run that was interrupted, and does nothing when
    nothing is missing. Given at the same time on several machines it divides the shards among them.
    """
    started_at = time.monotonic()
    kept = f"finished batches are kept under {config.output.uri}/work"
    with flow_session(terminal, "flows.build_dataset", kept):
        summary = _place_pictures(config.output.uri, _run(config, execution, shards))
    seconds = time.monotonic() - started_at
    document = {**summary.to_dict(), "wall_seconds": round(seconds, 1)}
    terminal.answer(render(summary, seconds), document)
    _tell_what_is_missing(summary, terminal)


def render(summary: "RunSummary", wall_seconds: float) -> str:
    """Return a summary as text."""
    from coupled_core.dataset.funnel import Funnel
    from coupled_core.runs.text_report import describe_losses

    lines = [_headline(summary), "", Funnel.from_dict(summary.funnel).render(), ""]
    if summary.manifest_parts:
        num_more = len(summary.manifest_parts) - 1
        more = f" and {num_more} more" if num_more else ""
        lines += [f"snapshot       {summary.snapshot_id}"]
        lines += [f"manifest       {summary.dataset}/{summary.manifest_parts[0]}{more}"]
    pictures = {"contact sheet": summary.contact_sheet, "report": summary.report}
    lines += [f"{name:<15}{place}" for name, place in pictures.items() if place]
    lines += [f"{name:<15}could not be made: {why}" for name, why in summary.not_made.items()]
    if summary.unknown_columns:
        names = ", ".join(summary.unknown_columns)
        lines += [f"only carried   {names}: columns without a meaning here"]
    if losses := describe_losses(summary.texts):
        lines += [f"texts          {losses}"]
    if summary.built_elsewhere:
        lines += [f"divided        {len(summary.built_elsewhere)} shards built by other processes"]
    lines += _describe_attempts(summary.attempts)
    lines += [f"split by       {summary.splitter}"]
    if summary.llm_spent_usd:
        lines += [
            f"LLM cost       {summary.llm_cost_usd:.6f} USD for these rows, "
            f"{summary.llm_spent_usd:.6f} USD spent by this run so far"
        ]
    return "\n".join([*lines, f"wall time      {wall_seconds:.0f} s"])


def _run(config: RunConfig, execution: ExecutionConfig, shards: str | None) -> "RunSummary":
    from coupled_core.runs.summary import ShardsFailedError
    from flows.build_dataset import build_dataset

    try:
        # What the run shows of itself beside all settings are the first three parameters.
        return build_dataset(
            prompts=list(config.prompts.uris),
            output=config.output.uri,
            shards=shards,
            execution=execution,
            config=config,
        )
    except ShardsFailedError as error:
        return error.summary


def _tell_what_is_missing(summary: "RunSummary", terminal: Terminal) -> None:
    """Note what was not made; exit with 5 for failures, with 6 where the LLM stopped the run."""
    for name, why in summary.not_made.items():
        terminal.note(
            f"warning: the data are committed, but their {name} could not be made: {why}; "
            "`coupled report` makes a report of any snapshot"
        )
    if summary.failed_shards:
        for index, message in summary.failed_shards.items():
            terminal.complain(f"error: shard {index} failed: {message}")
        terminal.complain("run the same command again to build the failed shards")
    if summary.stopped:
        terminal.complain(f"error: {summary.stopped}")
    if summary.failed_shards or summary.is_over_budget:
        raise SystemExit(ExitCode.SHARDS_FAILED)
    if summary.stopped:
        raise SystemExit(ExitCode.LLM)


def _place_pictures(dataset: str, summary: "RunSummary") -> "RunSummary":
    from coupled_core.report.report import read_summary

    if summary.snapshot_id is None:
        return summary
    numbers = read_summary(open_store(dataset), summary.snapshot_id) or {}
    return replace(
        summary,
        contact_sheet=_place(dataset, summary.snapshot_id, "contact-sheet.png"),
        report=_place(dataset, summary.snapshot_id, "report.html"),
        survival=numbers.get("survival"),
    )


def _place(dataset: str, snapshot_id: str, name: str) -> str | None:
    """Copy a picture or page to the top of a dataset in a folder, else into the current folder.

    Where neither can be written the file stays where it is: no run fails over a copy.

    Returns:
        Where it is now; None: the snapshot has none.
    """
    from coupled_core.report.report import report_key

    store, key = open_store(dataset), report_key(snapshot_id, name)
    try:
        data = store.read(key)
    except StorageError:  # it was not made, or cannot be read now
        return None
    try:
        if "://" not in dataset:
            store.write(name, data)
            return f"{store.uri}/{name}"
        # In the current folder pictures of several datasets may meet: the snapshot's id keeps them
        # apart.
        stem, dot, extension = name.partition(".")
        path = Path(f"{stem}-{snapshot_id}{dot}{extension}").absolute()
        path.write_bytes(data)
    except (OSError, StorageError):
        return f"{store.uri}/{key}"
    return str(path)


def _describe_attempts(counts: Mapping[str, int]) -> Iterator[str]:
    if counts["at_most"] > 1 or counts["pairs_tried_again"]:
        yield (
            f"attempts       up to {counts['at_most']} for each requested seed: "
            f"{counts['pairs_tried_again']:,} pairs tried again, {counts['pairs_spared']:,} spared "
            "because their groups had enough"
        )


def _headline(summary: "RunSummary") -> str:
    if summary.is_new:
        funnel = summary.funnel
        num_rows = int(funnel["pairs_planned"]) + int(funnel["groups_quarantined"])
        return f"built {summary.dataset}: {num_rows} new rows"
    if summary.is_over_budget:
        return f"nothing was added to {summary.dataset}: too many pairs failed or were rejected"
    if summary.stopped:
        return f"nothing was added to {summary.dataset}: no shard could be split as a whole"
    if summary.failed_shards:
        return f"nothing was added to {summary.dataset}: every shard failed"
    lasting = "thresholds" if summary.attempts["at_most"] == 1 else "thresholds and attempts"
    return (
        f"nothing to do: all {summary.num_pairs} pairs are in {summary.dataset} already "
        f"(with the {lasting} of their own run; `coupled recut` puts other thresholds over all)"
    )
