"""Many partitions of prompts into one dataset; each is an ordinary `build_dataset`.

Its deployment belongs into a queue with a lower priority than the nightly build's: a worker then
takes a backfill up only while no nightly build waits.
"""

from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

from prefect import get_run_logger

from coupled_core.config import BackfillSettings, ExecutionConfig, RunConfig, RunSettings
from coupled_core.progress import ProgressWithin, current_progress, report_to
from coupled_core.runs.backfill import (
    BackfillPlan,
    PartitionReport,
    Reprocess,
    open_backfill,
    plan_backfill,
)
from coupled_core.runs.backfill_forecast import forecast_backfill
from coupled_core.runs.division import Elsewhere, Outcome, divide_here
from coupled_core.runs.partitions import Partition
from coupled_core.runs.profiles import Profile, layer_settings
from coupled_core.runs.summary import RunSummary
from flows.build_dataset import build_dataset
from flows.fan_out import list_devices, open_processes, submit_all
from flows.policy import observed_flow
from tasks.announce import show_table
from tasks.policy import stage_task

_DEFAULTS = RunSettings()


@observed_flow("backfill", "backfill", "output")
def backfill(
    name: str,
    prompts: str | list[str] = _DEFAULTS.prompts.uri,  # type: ignore[assignment]  # one by default
    output: str = _DEFAULTS.output.uri,
    profile: Profile = "miniature",
    partitions: BackfillSettings | None = None,
    dry_run: bool = False,
    execution: ExecutionConfig | None = None,
    config: RunSettings | None = None,
) -> list[dict[str, Any]]:
    """Build the partitions of prompts that are not done; one that fails does not stop the others.

    The same call goes on after a kill, and says why where nothing is to do. Several at a time
    divide the partitions. `coupled backfill pause NAME` and the like reach it from anywhere.

    Args:
        name: Of the backfill; its state lies under this name in the dataset.
        prompts: Files, a folder or a pattern, or several: what is cut into partitions.
        output: Dataset: a folder or s3://BUCKET/PREFIX.
        profile: Models that go together: generator, Segment Anything and CLIP.
        partitions: Which partitions, in which order, how many at a time. Empty: one a file, all.
        dry_run: Say what would be done and cost; write and spend nothing.
        execution: How each partition is built. Empty: here, its shards one after another.
        config: All settings of each build, for experts; as in build-dataset. Empty: all defaults.

    Raises:
        CoupledError: nothing could be done, and why.
    """
    given = {"prompts.uri": prompts, "output.uri": output}
    asked = layer_settings(profile, config or _DEFAULTS, given)
    plan = plan_backfill(asked, partitions or BackfillSettings())
    found = open_backfill(asked, name)
    if dry_run:
        rows = [asdict(each) for each in forecast_backfill(found, plan)]
    else:
        found.write_plan(plan)
        reports = _carry_out(name, plan, execution or ExecutionConfig())
        rows = [asdict(report) for report in reports]
    shown = {row["partition"]: f"{row['outcome']} {row['why']}" for row in rows}
    show_table(f"backfill {name}", shown, asked.output.uri)
    return rows


def _carry_out(name: str, plan: BackfillPlan, execution: ExecutionConfig) -> list[PartitionReport]:
    progress, order = current_progress(), [each.name for each in plan.partitions]
    progress.begin("partitions", len(order))
    reports: list[PartitionReport] = []

    def take(report: PartitionReport) -> None:
        get_run_logger().info("%s: %s, %s", report.partition, report.outcome, report.why)
        reports.append(report)
        progress.advance("partitions")

    # What needs no work is told here, not by a worker: nobody should start processes and load
    # models to learn that a partition is done.
    found, to_build = open_backfill(plan.config, name), []
    for partition in plan.partitions:  # nobody starts processes and loads models for nothing
        why = found.find_reason_to_skip(partition, plan.config, plan.settings.reprocess)
        if why is None:
            to_build.append(partition)
        else:
            take(PartitionReport(partition.name, "skipped", why))
    for outcome in _build_all(name, to_build, plan, execution):
        if outcome.error is not None:  # what would fail the others, too
            raise outcome.error
        if outcome.result is not None:
            take(outcome.result)
    # They came as they ended; readers expect the plan's order.
    return sorted(reports, key=lambda report: order.index(report.partition))


def _build_all(
    name: str, partitions: Sequence[Partition], plan: BackfillPlan, execution: ExecutionConfig
) -> Generator[Outcome[Partition, PartitionReport], None, None]:
    look, at_once = open_backfill(plan.config, name).look, plan.settings.max_parallel
    parameters: dict[str, Any] = {
        "name": name,
        "config": plan.config,
        "reprocess": plan.settings.reprocess,
        "execution": execution,
    }
    pieces = {each: {**parameters, "partition": each} for each in partitions}
    # One at a time needs no process of its own: the models stay loaded in this one from one
    # partition to the next.
    if at_once == 1:
        yield from divide_here(
            partitions, look, lambda each: build_partition(**pieces[each]), stage="partitions"
        )
        return
    devices = list_devices(plan.config)
    runner = open_processes(at_once, devices)
    yield from submit_all(build_partition, pieces, look, runner, at_once, stage="partitions")


@stage_task("build-partition", run_name="{partition.name}")
def build_partition(
    name: str,
    partition: Partition,
    config: RunConfig,
    reprocess: Reprocess,
    execution: ExecutionConfig,
) -> PartitionReport | Elsewhere:
    """Build one partition if that is to be done."""

    def build(settled: RunConfig) -> RunSummary:
        summary: RunSummary = build_dataset(
            prompts=list(settled.prompts.uris),
            output=settled.output.uri,
            execution=execution,
            config=settled,
        )
        return summary

    # The build inside reports its own shards and pairs; here they are a part of one partition.
    within = ProgressWithin(current_progress(), "partitions", partition.name)
    with report_to(within):
        return open_backfill(config, name).build(partition, config, reprocess, build)
