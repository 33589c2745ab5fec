"""What a backfill does about each partition, and what it writes down."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from coupled_core.config import BackfillSettings, OutputConfig, PromptSetConfig, RunConfig
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot
from coupled_core.errors import (
    ConfigError,
    CoupledError,
    DatasetError,
    LeaseLostError,
    LlmBudgetError,
    LlmError,
    StorageError,
)
from coupled_core.progress import SilentProgress, report_to
from coupled_core.prompts.files import list_input_files
from coupled_core.runs.backfill import (
    Backfill,
    BackfillPlan,
    Control,
    PartitionReport,
    plan_backfill,
)
from coupled_core.runs.backfill_forecast import forecast_backfill
from coupled_core.runs.division import Elsewhere
from coupled_core.runs.summary import RunSummary, ShardsFailedError, StoppedByLlmError
from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore
from tests.counted_store import CountedStore
from tests.sample_shards import describe_run, publish

DAYS = ["2026-11-01", "2026-11-02"]
Build = Callable[[RunConfig], RunSummary]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "pairs")


@pytest.fixture
def plan(tmp_path: Path, store: LocalStore) -> BackfillPlan:
    for day in DAYS:
        path = tmp_path / f"sets/date={day}/set.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(f'{{"group_id": "{day}", "prompts": ["A kite", "A balloon"]}}')
    prompts = PromptSetConfig(uri=str(tmp_path / "sets"))
    config = RunConfig(prompts=prompts, output=OutputConfig(uri=store.uri))
    return plan_backfill(config, BackfillSettings(by="date"))


@pytest.fixture
def found(store: LocalStore) -> Backfill:
    return Backfill(store, "autumn")


@pytest.fixture
def build(store: LocalStore) -> Build:
    """Commit a row of a run whose name is the partition's day."""

    def commit(config: RunConfig) -> RunSummary:
        run_id = next(day for day in DAYS if day in config.prompts.label)
        shard = publish(store, run_id, DAYS.index(run_id))
        commit_shards(store, [shard], describe_run(run_id))
        snapshot = current_snapshot(store)
        return _summarise(run_id, snapshot.snapshot_id if snapshot else None)

    return commit


def _summarise(run_id: str, snapshot_id: str | None) -> RunSummary:
    return RunSummary(
        run_id=run_id, dataset="pairs", snapshot_id=snapshot_id, is_new=True, num_pairs=1,
        num_pairs_before=0, num_shards=1, failed_shards={}, stopped=None, splitter="offline",
        llm_cost_usd=0.0, llm_spent_usd=0.0, funnel={}, manifest_parts=(), attempts={},
    )  # fmt: skip


def _fail(_: RunConfig) -> RunSummary:
    raise DatasetError("no luck")


def _build(
    found: Backfill, plan: BackfillPlan, build: Build, reprocess: str = "missing"
) -> PartitionReport:
    done = found.build(plan.partitions[0], plan.config, reprocess, build)  # type: ignore[arg-type]
    assert isinstance(done, PartitionReport)
    return done


def test_what_is_done_is_skipped_and_says_by_which_snapshot(
    found: Backfill, plan: BackfillPlan, build: Build
) -> None:
    first = _build(found, plan, build)
    assert (first.outcome, first.why[:9]) == ("built", "snapshot ")
    again = _build(found, plan, _fail)
    assert (again.outcome, again.why) == (
        "skipped",
        f"it is done: {first.why}, same input and settings",
    )
    assert found.describe(plan.partitions[0]) == PartitionReport(DAYS[0], "done", first.why)
    assert found.describe(plan.partitions[1]) == PartitionReport(DAYS[1], "open", "not begun")


def test_a_failure_is_written_down_and_tried_again_when_asked_for(
    found: Backfill, plan: BackfillPlan, build: Build
) -> None:
    failed = _build(found, plan, _fail)
    assert failed == PartitionReport(DAYS[0], "failed", "DatasetError: no luck")
    assert (
        f"retry-failed autumn --dataset {plan.config.output.uri}" in _build(found, plan, build).why
    )
    assert _build(found, plan, build, "failed").outcome == "built"
    assert _build(found, plan, build, "failed").why == "it has not failed"


def test_a_file_that_has_gone_since_it_was_listed_is_the_failure_of_its_partition(
    found: Backfill, plan: BackfillPlan, build: Build, tmp_path: Path
) -> None:
    def read(config: RunConfig) -> RunSummary:
        list_input_files(config.prompts.uris[0])
        return build(config)

    (tmp_path / f"sets/date={DAYS[0]}/set.jsonl").unlink()
    for _ in range(2):  # when it is first tried, and where something is known of it
        failed = _build(found, plan, read, "all")
        assert failed.outcome == "failed" and "does not exist" in failed.why
    assert "it has failed" in _build(found, plan, read).why


def test_a_signal_that_came_out_as_an_error_stops_us_and_marks_no_failure(
    found: Backfill, plan: BackfillPlan
) -> None:
    class Interrupted(SilentProgress):
        def remark(self, stage: str, text: str) -> None:
            raise KeyboardInterrupt

    with report_to(Interrupted()), pytest.raises(KeyboardInterrupt):
        _build(found, plan, _fail)
    assert found.read_state(plan.partitions[0]) is None


def test_another_input_or_setting_is_built_again(
    found: Backfill, plan: BackfillPlan, build: Build, tmp_path: Path
) -> None:
    _build(found, plan, build)
    other = plan.config.model_copy(
        update={"generation": plan.config.generation.model_copy(update={"seed": 7})}
    )
    assert _build(found, plan.model_copy(update={"config": other}), build).outcome == "built"
    _build(found, plan, build)
    (tmp_path / f"sets/date={DAYS[0]}/set.jsonl").write_text("{}")
    assert _build(found, plan, build).outcome == "built"


def test_what_a_rollback_took_away_is_built_again(
    found: Backfill, plan: BackfillPlan, build: Build, store: LocalStore
) -> None:
    _build(found, plan, build)
    store.delete("current.json")
    assert _build(found, plan, build).outcome == "built"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no such model"),
        LlmError("the API answered 401"),
        StoppedByLlmError(replace(_summarise("run", None), stopped="the API answered 401")),
    ],
)
def test_what_would_stop_every_partition_ends_the_backfill_and_marks_none(
    found: Backfill, plan: BackfillPlan, error: CoupledError
) -> None:
    def stopped(_: RunConfig) -> RunSummary:
        raise error

    with pytest.raises(type(error), match=r"no such model|401"):
        _build(found, plan, stopped)
    assert found.read_state(plan.partitions[0]) is None


@pytest.mark.parametrize(
    "error",
    [
        LlmBudgetError("the cap of 1 USD is reached"),
        ShardsFailedError(replace(_summarise("run", None), stopped="too many pairs failed")),
    ],
)
def test_what_may_go_better_with_other_prompts_is_the_failure_of_one_partition(
    found: Backfill, plan: BackfillPlan, error: CoupledError
) -> None:
    def stopped(_: RunConfig) -> RunSummary:
        raise error

    assert _build(found, plan, stopped).outcome == "failed"


def test_a_pause_holds_until_it_is_resumed_and_a_cancellation_for_good(
    found: Backfill, plan: BackfillPlan, build: Build, store: LocalStore
) -> None:
    Backfill(store, "autumn").control = Control.PAUSED
    assert _build(found, plan, build) == PartitionReport(DAYS[0], "open", "the backfill is paused")
    found.resume()
    assert _build(found, plan, build).outcome == "built"
    found.control = Control.CANCELLED
    with pytest.raises(ConfigError, match="was cancelled"):
        found.resume()


@pytest.fixture
def other(store: LocalStore) -> Leases:
    """The leases of another process."""
    return Leases(store, "work/backfill-autumn/leases/", LeaseTimes())


def test_the_snapshot_is_read_once_and_not_once_a_partition(
    plan: BackfillPlan, build: Build, store: LocalStore
) -> None:
    counted = CountedStore(store)
    found = Backfill(cast("ObjectStore", counted), "autumn")
    for partition in plan.partitions:
        found.build(partition, plan.config, "missing", build)
    counted.calls.clear()
    for partition in plan.partitions * 5:
        assert found.find_reason_to_skip(partition, plan.config, "missing") is not None
    num_states = 5 * len(plan.partitions)
    assert counted.calls["read"] <= num_states + 1


def test_what_another_process_builds_is_left_to_it(
    found: Backfill, plan: BackfillPlan, build: Build, store: LocalStore, other: Leases
) -> None:
    seen: list[object] = []

    def look(config: RunConfig) -> RunSummary:
        [key] = [info.key for info in store.list("work/backfill") if "beats" not in info.key]
        seen.append(other.take(key.rpartition("/")[2]))
        seen.append(found.look(plan.partitions[0]))
        seen.append(found.build(plan.partitions[0], plan.config, "missing", _fail))
        return build(config)

    _build(found, plan, look)
    other.close()
    assert seen[0] is False
    assert isinstance(seen[1], Elsewhere) and "is worked on by" in str(seen[1].holder)
    assert seen[1:2] == seen[2:]
    assert found.look(plan.partitions[0]) is None


def test_who_was_paused_and_lost_the_partition_writes_nothing_down(
    found: Backfill, plan: BackfillPlan, build: Build, store: LocalStore
) -> None:
    def lose(config: RunConfig) -> RunSummary:
        for key in [info.key for info in store.list("work/backfill-autumn/leases/")]:
            store.delete(key)
        return build(config)

    with pytest.raises(LeaseLostError):
        _build(found, plan, lose)
    assert found.read_state(plan.partitions[0]) is None


def test_a_plan_is_read_back_as_it_was_and_names_are_checked(
    found: Backfill, plan: BackfillPlan, store: LocalStore
) -> None:
    with pytest.raises(ConfigError, match="knows no backfill"):
        found.read_plan()
    found.write_plan(plan)
    assert found.read_plan() == plan
    with pytest.raises(ConfigError, match="cannot name a backfill"):
        Backfill(store, "../x")


def test_a_plan_in_a_copied_dataset_is_about_the_copy(
    found: Backfill, plan: BackfillPlan, store: LocalStore, tmp_path: Path
) -> None:
    found.write_plan(plan)
    shutil.copytree(store.root, tmp_path / "copy")
    copied = Backfill(LocalStore(tmp_path / "copy"), "autumn").read_plan()
    assert copied.config.output.uri == str(tmp_path / "copy")


def test_who_deletes_a_damaged_control_is_told_that_the_backfill_then_runs(
    found: Backfill, store: LocalStore
) -> None:
    store.write("backfills/autumn/control", b"cancel")
    with pytest.raises(StorageError, match="it then runs until it is paused or cancelled"):
        _ = found.control


@pytest.mark.parametrize("name", ["control", "plan.json"])
@pytest.mark.parametrize("content", [b"\xff", b"{}", b"[" * 1000])
def test_damage_is_named(found: Backfill, store: LocalStore, name: str, content: bytes) -> None:
    store.write(f"backfills/autumn/{name}", content)
    with pytest.raises(StorageError, match=f"{name} is damaged: delete it"):
        _ = found.control
        found.read_plan()


def test_a_forecast_counts_what_is_to_do_and_says_what_would_fail(
    found: Backfill, plan: BackfillPlan, build: Build, tmp_path: Path, store: LocalStore
) -> None:
    (tmp_path / f"sets/date={DAYS[1]}/set.jsonl").write_text("no json")
    before = [info.key for info in store.list("")]
    rows = list(forecast_backfill(found, plan))
    assert [row.outcome for row in rows] == ["to build", "would fail"]
    assert (rows[0].groups, rows[0].pairs, rows[0].usd, rows[0].gpu_hours) == (1, 1, 0.0, None)
    assert rows[0].disk_bytes > 0
    assert "set.jsonl" in rows[1].why
    assert [info.key for info in store.list("")] == before
    _build(found, plan, build)
    assert [row.outcome for row in forecast_backfill(found, plan)] == ["skipped", "would fail"]
