"""Shows a run in Prefect: its name, artifacts while it runs and after, an event at each commit.

All of it is a courtesy: what cannot be shown is logged, and the run goes on. A temporary server,
which ends with its command, is told nothing: nobody would look.
"""

import html
import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import PurePosixPath
from typing import Any, ParamSpec
from uuid import UUID

from prefect import runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from coupled_core.dataset.snapshot import Snapshot, snapshot_key
from coupled_core.progress import PassedOn, Progress
from coupled_core.redaction import redact
from coupled_core.report.report import report_key
from coupled_core.runs.summary import RunSummary

P = ParamSpec("P")
_logger = logging.getLogger(__name__)
_UPDATE_EVERY_SECONDS = 15.0
_PAUSES = 20.0
"""So many times as long as it took: a server that hangs takes little of a build's time."""
COMMITTED = "coupled.snapshot.committed"


def courtesy(function: Callable[P, Any]) -> Callable[P, None]:
    """Let a function that shows something log its failures and never raise one."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if not PREFECT_LOGGING_TO_API_ENABLED.value():
            return
        try:
            function(*args, **kwargs)
        except Exception as error:  # whatever it is: nothing that is shown is worth a run
            _logger.warning("cannot show it in Prefect: %s", redact(str(error)))

    return run


def name_of(dataset: str) -> str:
    """Return the last part of a dataset's location, for names of runs."""
    return PurePosixPath(dataset.partition("://")[2] or dataset).name or dataset


@courtesy
def name_flow_run(dataset: str, run_id: str, shards: str | None) -> None:
    """Call the flow run by dataset and run id; the id is known only after planning."""
    part = "" if shards is None else f" shards {shards}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(runtime.flow_run.id), name=f"{name_of(dataset)} {run_id}{part}")


@courtesy
def announce_snapshot(dataset: str, snapshot: Snapshot, run_id: str) -> None:
    """Emit the event that automations can wait for."""
    emit_event(
        COMMITTED,
        resource={
            "prefect.resource.id": f"coupled.dataset.{dataset}",
            "prefect.resource.name": name_of(dataset),
        },
        payload={
            "dataset": dataset,
            "snapshot_id": snapshot.snapshot_id,
            "snapshot_uri": f"{dataset}/{snapshot_key(snapshot.snapshot_id)}",
            "num_rows": sum(part.num_rows for part in snapshot.parts_of("manifest")),
            "num_kept": snapshot.funnel.pairs_kept,
            "run_id": run_id,
        },
    )


@courtesy
def show_summary(summary: RunSummary, seconds: float) -> None:
    """Leave what came out as an artifact of the flow run."""
    create_markdown_artifact(
        describe_summary(summary, seconds),
        key=_key(summary.dataset, "summary"),
        description=f"What run {summary.run_id} made of {name_of(summary.dataset)}",
    )


@courtesy
def show_table(title: str, rows: Mapping[str, object], dataset: str) -> None:
    """Leave names and values as an artifact of the flow run."""
    text = f"# {_plain(title)}\n\n{_table(('', ''), rows.items())}"
    create_markdown_artifact(text, key=_key(dataset, title), description=title)


class ShownProgress(PassedOn):
    """Keeps an artifact of the progress up to date, a few times a minute at most."""

    def __init__(self, listener: Progress, dataset: str) -> None:
        super().__init__(listener)
        self._dataset = dataset
        self._totals: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._remark = ""
        self._artifact: UUID | None = None
        self._show_at = time.monotonic() + _UPDATE_EVERY_SECONDS

    def begin(self, stage: str, total: int) -> None:
        """Remember the total."""
        self._totals[stage] = total
        super().begin(stage, total)

    def extend(self, stage: str, count: int) -> None:
        """Raise the total."""
        self._totals[stage] = self._totals.get(stage, 0) + count
        super().extend(stage, count)

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Count."""
        self._counts[stage] = self._counts.get(stage, 0) + count
        super().advance(stage, count, is_new=is_new)

    def within(self, stage: str, done: float, text: str) -> None:
        """Show where it is beside the counts."""
        self._remark = f"; {stage}: {text}"
        super().within(stage, done, text)

    def remark(self, stage: str, text: str) -> None:
        """Show it beside the counts."""
        self._remark = f"; {stage}: {text}" if text else ""
        super().remark(stage, text)

    def _note(self, *, is_waiting: bool = False) -> None:
        if time.monotonic() >= self._show_at:
            begun_at = time.monotonic()
            self.show()
            took = time.monotonic() - begun_at
            self._show_at = time.monotonic() + max(_UPDATE_EVERY_SECONDS, _PAUSES * took)

    def end(self) -> None:
        """Show how far it came; a run that was over before anybody could look shows nothing."""
        # It is made at the first showing, so a short run has none.
        if self._artifact is not None:
            self.show()

    @courtesy
    def show(self) -> None:
        """Show it now, or not at all: Prefect's retries would hold the build up for a minute."""
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            self._show()

    def _show(self) -> None:
        made = [self._counts.get(stage, 0) for stage in ("generate", "score")]
        to_make = [self._totals.get(stage, 0) for stage in ("generate", "score")]
        # Generating and scoring count alike. A shard that is tried again counts its
        # finished batches once more, so the sum can pass the total.
        share = 100.0 * min(sum(made) / sum(to_make), 1.0) if sum(to_make) else 0.0
        counts = [f"{s} {self._counts.get(s, 0)} of {total}" for s, total in self._totals.items()]
        text = redact(", ".join(counts) + self._remark)
        if self._artifact is None:
            key = _key(self._dataset, "progress")
            made_artifact = create_progress_artifact(share, key=key, description=text)
            assert isinstance(made_artifact, UUID)  # a coroutine only where a loop runs
            self._artifact = made_artifact
        else:
            update_progress_artifact(self._artifact, share, description=text)


def _key(dataset: str, what: str) -> str:
    words = re.findall(r"[a-z0-9]+", f"{name_of(dataset)} {what}".lower())
    return "-".join(words)


def _list_places(summary: RunSummary) -> dict[str, str]:
    """Return where snapshot and report are; nothing where nothing was ever committed."""
    name = summary.snapshot_id
    if name is None:
        return {}
    keys = {"snapshot": snapshot_key(name), "report": report_key(name, "report.html")}
    return {what: f"{summary.dataset}/{key}" for what, key in keys.items()}


def describe_summary(summary: RunSummary, seconds: float) -> str:
    """Return Markdown in which nothing is markup but ours."""
    funnel = summary.funnel
    made = int(funnel.get("pairs_scored", 0))
    reasons = {**funnel.get("dropped_by_reason", {}), **funnel.get("failed_by_reason", {})}
    counts = ("groups_in", "groups_quarantined", "groups_failed", "pairs_planned", "pairs_failed",
              "pairs_scored", "pairs_kept", "pairs_dropped")  # fmt: skip
    facts = {
        "dataset": summary.dataset,
        **_list_places(summary),
        "new rows": "yes" if summary.is_new else "no",
        "pairs in the dataset before": summary.num_pairs_before,
        "split by": summary.splitter,
        "language model, USD": f"{summary.llm_spent_usd:.6f}",
        "wall time, s": f"{seconds:.0f}",
        "pairs a minute, this run's rows": f"{60 * made / seconds:.1f}" if summary.is_new else "",
    }
    parts = [
        f"# Run {summary.run_id}",
        _table(("", ""), facts.items()),
        "## Funnel",
        _table(("", "count"), ((name.replace("_", " "), funnel.get(name, 0)) for name in counts)),
    ]
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: -item[1])
        parts += ["## Why pairs were dropped or failed", _table(("reason", "pairs"), ordered)]
    if summary.stopped:
        parts += ["## Stopped", _plain(summary.stopped)]
    if summary.failed_shards:
        shown = ((f"{index:05d}", why) for index, why in summary.failed_shards.items())
        parts += ["## Shards that are missing", _table(("shard", "why"), shown)]
    parts += [f"{_plain(name)}: {_plain(why)}" for name, why in summary.not_made.items()]
    return "\n\n".join(parts)


def _table(heads: tuple[str, str], rows: Any) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_plain(name)} | {_plain(value)} |" for name, value in rows)])


def _plain(value: object) -> str:
    """Return text that neither Markdown nor HTML takes for markup: errors quote prompts."""
    text = html.escape(" ".join(redact(str(value)).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text)
