"""What a collection of garbage removes, and what it never touches."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from coupled_core.config import Retention
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.row_index import committed_pair_ids
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.gc import Garbage, GarbagePlan, collect_garbage, plan_gc
from coupled_core.dataset.upkeep.history import list_snapshots, roll_back
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.dataset.work import WorkFolder, join_kin
from coupled_core.errors import ConflictError, DatasetError, StorageError
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import describe_run, publish

LATER = timedelta(days=3)
ONLY_NEWEST = Retention(keep_snapshots=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _commit(store: ObjectStore, *indices: int, run: str = "run") -> Snapshot:
    shards = [publish(store, run, index) for index in indices]
    snapshot = commit_shards(store, shards, describe_run(run))
    assert snapshot is not None
    return snapshot


def _plan(store: ObjectStore, retention: Retention = ONLY_NEWEST) -> GarbagePlan:
    return plan_gc(store, retention, datetime.now(UTC) + LATER)


def _kinds(plan: GarbagePlan) -> set[Garbage]:
    return {removal.why for removal in plan.removals}


def _three_snapshots(store: LocalStore) -> list[Snapshot]:
    """Three states whose files are a minute apart, as the ids of fast commits are not."""
    return [_commit(store, index) for index in range(3)]


def test_without_options_no_snapshot_goes(store: LocalStore) -> None:
    _three_snapshots(store)
    plan = _plan(store, Retention())
    assert (plan.snapshots, plan.removals, len(plan.retained)) == ((), (), 3)


def test_a_plan_changes_nothing(store: LocalStore) -> None:
    _three_snapshots(store)
    before = {info.key: store.read(info.key) for info in store.list("")}
    assert _plan(store).removals
    assert {info.key: store.read(info.key) for info in store.list("")} == before


def test_the_current_and_the_previous_snapshot_stay_with_every_part(store: LocalStore) -> None:
    first, second, third = _three_snapshots(store)
    plan = _plan(store)
    assert set(plan.retained) == {second.snapshot_id, third.snapshot_id}
    collect_garbage(store, plan)
    assert {f.snapshot_id for f in list_snapshots(store)} == set(plan.retained)
    assert all(store.exists(part.key) for part in third.parts)
    assert not store.exists(first.key)
    assert len(committed_pair_ids(store, current_snapshot(store))) == 15


def test_parts_that_only_a_removed_snapshot_named_go_after_it(store: LocalStore) -> None:
    first = _commit(store, 0)
    lonely = _commit(store, 1)
    roll_back(store, first.snapshot_id)
    _commit(store, 2)
    roll_back(store, first.snapshot_id)
    _commit(store, 3)
    plan = _plan(store)
    assert lonely.snapshot_id in plan.snapshots
    gone = {part.key for part in lonely.parts} - {part.key for part in first.parts}
    kinds = [removal.why for removal in plan.removals]
    assert gone <= {removal.key for removal in plan.removals}
    assert kinds == sorted(kinds, key=[Garbage.SNAPSHOT, Garbage.PART].index)
    collect_garbage(store, plan)
    assert not any(store.exists(key) for key in gone)
    assert all(store.exists(part.key) for part in first.parts)


def test_index_files_go_when_no_snapshot_names_them_any_more(store: LocalStore) -> None:
    first, _, third = _three_snapshots(store)
    removed = {removal.key for removal in _plan(store).removals}
    assert {info.key for info in first.index} <= removed
    collect_garbage(store, _plan(store))
    assert not any(store.exists(info.key) for info in first.index)
    assert all(store.exists(info.key) for info in third.index)
    assert verify_snapshot(store, third).is_whole


def test_what_is_younger_than_the_grace_period_stays(store: LocalStore) -> None:
    _commit(store, 0)
    publish(store, "never committed", 7)
    assert plan_gc(store, ONLY_NEWEST, datetime.now(UTC) + timedelta(hours=5)).removals == ()
    assert _kinds(_plan(store)) == {Garbage.PART}


@pytest.mark.parametrize("index", [7, 123_456])
def test_parts_that_wait_for_their_commit_stay_however_old(store: LocalStore, index: int) -> None:
    _commit(store, 0)
    waiting = publish(store, "other", index)
    WorkFolder(store, "other", index).write_done(waiting.model_dump(mode="json"))
    assert _plan(store).removals == ()


@pytest.mark.parametrize("index", [0, 123_456])
def test_work_whose_pairs_are_in_the_dataset_goes_with_its_marker_last(
    store: LocalStore, index: int
) -> None:
    shard = publish(store, "run", index)
    commit_shards(store, [shard], describe_run("run"))
    work = WorkFolder(store, "run", index)
    work.write_json("split.json", {})
    work.write_done(shard.model_dump(mode="json"))
    plan = _plan(store)
    assert _kinds(plan) == {Garbage.FINISHED_WORK}
    assert [removal.key.rpartition("/")[2] for removal in plan.removals] == [
        "split.json",
        "done.json",
    ]


def test_finished_work_is_recognised_by_its_pairs_when_its_parts_were_rewritten(
    store: LocalStore,
) -> None:
    _commit(store, 0, run="rival")  # the same pairs in other parts
    shard: UploadedShard = publish(store, "run", 0)
    WorkFolder(store, "run", 0).write_done(shard.model_dump(mode="json"))
    assert Garbage.FINISHED_WORK in _kinds(_plan(store))


def test_unfinished_work_goes_only_when_asked_for(store: LocalStore) -> None:
    _commit(store, 0)
    WorkFolder(store, "open", 3).write_json("split.json", {})
    assert _plan(store).removals == ()
    recent = Retention(abandoned_work=30)
    assert _plan(store, recent).removals == ()
    assert _kinds(_plan(store, Retention(abandoned_work=2))) == {Garbage.ABANDONED_WORK}


PLAN = ["work/run/plan.json", "work/run/plan/00000.parquet"]


def _plan_run(store: LocalStore) -> None:
    for key in PLAN:
        store.write(key, b"what the shards of the run are made of")


def test_a_plan_goes_with_the_last_of_its_shards_and_its_marker_first(store: LocalStore) -> None:
    _plan_run(store)
    shards = [publish(store, "run", index) for index in range(2)]
    for shard in shards:
        WorkFolder(store, "run", shard.shard_index).write_done(shard.model_dump(mode="json"))
    commit_shards(store, shards[:1], describe_run("run"))
    assert [removal.key for removal in _plan(store).removals] == ["work/run/00000/done.json"]
    commit_shards(store, shards, describe_run("run"))
    removals = [(r.key, r.why) for r in _plan(store).removals if r.key.startswith("work/")]
    done = ["work/run/00000/done.json", "work/run/00001/done.json"]
    assert removals == [(key, Garbage.FINISHED_WORK) for key in (*PLAN, *done)]


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_plan_of_an_unfinished_run_goes_only_when_asked_for(
    store: LocalStore, has_begun: bool
) -> None:
    _commit(store, 0, run="another")
    _plan_run(store)
    if has_begun:
        WorkFolder(store, "run", 3).write_json("split.json", {})
    assert _plan(store).removals == ()
    plan = _plan(store, Retention(abandoned_work=2))
    assert _kinds(plan) == {Garbage.ABANDONED_WORK}
    assert [removal.key for removal in plan.removals][:2] == PLAN


def test_marks_of_runs_with_the_same_images_go_only_when_asked_for(store: LocalStore) -> None:
    _commit(store, 0)
    join_kin(store, "5a3e", "0f1e")
    assert _plan(store).removals == ()
    asked = _plan(store, Retention(abandoned_work=2))
    assert _kinds(asked) == {Garbage.ABANDONED_WORK}


def test_leftovers_of_killed_writers_go(store: LocalStore) -> None:
    _commit(store, 0)
    (store.root / "images" / ".writing-0123").write_bytes(b"half a part")
    store.write("work/probe-0123", b"first")
    plan = _plan(store)
    assert _kinds(plan) == {Garbage.UNFINISHED_WRITE, Garbage.PROBE}
    collect_garbage(store, plan)
    assert list(store.list_unfinished()) == []
    assert _plan(store).removals == ()


def test_objects_that_are_not_ours_are_never_touched(store: LocalStore) -> None:
    _commit(store, 0)
    for key in ("exports/hf/data.parquet", "contact-sheet.png", "notes/images/a.parquet"):
        store.write(key, b"mine")
    assert _plan(store).removals == ()


def test_a_plan_that_another_writer_overtook_removes_no_snapshot(store: LocalStore) -> None:
    first, *_ = _three_snapshots(store)
    plan = _plan(store)
    roll_back(store, first.snapshot_id)
    with pytest.raises(ConflictError, match="run `coupled gc` again"):
        collect_garbage(store, plan)
    assert current_snapshot(store) == first
    assert all(store.exists(part.key) for part in first.parts)


def test_nobody_returns_to_a_snapshot_that_is_being_removed(store: LocalStore) -> None:
    first, *_ = _three_snapshots(store)

    class Killed(LocalStore):
        def delete(self, key: str) -> None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        collect_garbage(Killed(store.root), _plan(store))
    with pytest.raises(DatasetError, match="is being deleted by `coupled gc`"):
        roll_back(store, first.snapshot_id)
    plan = _plan(store, Retention())  # a later collection finishes what was begun
    assert plan.snapshots == (first.snapshot_id,)
    collect_garbage(store, plan)
    pointer = read_pointer(store)
    assert pointer is not None and pointer.removing == ()


def test_a_part_that_a_writer_has_refreshed_meanwhile_stays(store: LocalStore) -> None:
    _commit(store, 0)
    part = publish(store, "slow", 7).parts[0]
    plan = _plan(store)
    os.utime(store.root / part.key)
    collect_garbage(store, plan)
    assert store.exists(part.key)


def test_a_part_that_was_committed_meanwhile_stays(store: LocalStore) -> None:
    _commit(store, 0)
    slow = publish(store, "slow", 7)
    plan = _plan(store)
    commit_shards(store, [slow], describe_run("slow"))
    collect_garbage(store, plan)
    assert all(store.exists(part.key) for part in slow.parts)


def test_a_part_that_a_writer_takes_up_while_its_removal_hangs_is_kept_under_another_name(
    store: LocalStore,
) -> None:
    _commit(store, 0)
    old = publish(store, "slow", 7)
    then = (datetime.now(UTC) - LATER).timestamp()
    for part in old.parts:
        os.utime(store.root / part.key, (then, then))
    hung: list[str] = []

    class Hanging(LocalStore):
        def delete(self, key: str) -> None:
            """Let a writer do all that it has to do, after the last look and before the removal."""
            hung.append(key)
            commit_shards(store, [publish(store, "slow", 7)], describe_run("slow"))
            super().delete(key)

    collect_garbage(Hanging(store.root), _plan(store))
    assert sorted(hung) == sorted(part.key for part in old.parts)
    snapshot = current_snapshot(store)
    assert snapshot is not None
    assert verify_snapshot(store, snapshot).is_whole
    assert not {part.key for part in old.parts} & {part.key for part in snapshot.parts}


def test_nothing_is_removed_when_nobody_knows_what_is_garbage(store: LocalStore) -> None:
    _, second, _ = _three_snapshots(store)
    store.write(second.key, b"damaged")
    with pytest.raises(DatasetError, match="is damaged"):
        _plan(store)
    store.delete("current.json")
    with pytest.raises(DatasetError, match="no current snapshot"):
        _plan(store)


@pytest.mark.parametrize("dangerous", [{"grace": 1.9}, {"keep_snapshots": 0}])
def test_a_dangerous_retention_is_refused(dangerous: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate(dangerous)


FOREIGN = (
    "images/holiday.parquet",
    "images/part-00000-0123abcd.parquet.bak",
    "manifest/part-0-0123abcd.parquet",
    "dropped/part-٠٠٠٠٠-0123abcd.parquet",  # digits, but none of ours
    "snapshots/notes.json",
    "work/run/00000/notes.txt",
    "work/run/00000/generated/mine.parquet",
    "work/probe-of-mine",
)


def test_what_no_writer_can_have_named_stays_and_is_reported(store: LocalStore) -> None:
    first, *_ = _three_snapshots(store)
    shard = publish(store, "run", 0)
    WorkFolder(store, "run", 0).write_done(shard.model_dump(mode="json"))
    mine = (*FOREIGN, f"reports/{first.snapshot_id}/my-notes.html")
    for key in mine:
        store.write(key, b"mine")
    plan = _plan(store)
    assert set(plan.foreign) == set(mine)
    collect_garbage(store, plan)
    assert all(store.exists(key) for key in mine)
    assert not store.exists(first.key)


def test_files_that_others_began_to_write_stay(store: LocalStore) -> None:
    _commit(store, 0)
    (store.root / ".writing-my-thesis").write_bytes(b"mine")
    assert _plan(store).removals == ()


def test_parts_of_shards_beyond_five_digits_are_seen(store: LocalStore) -> None:
    _commit(store, 0)
    lost = publish(store, "lost", 123_456)
    keys = {part.key for part in lost.parts}
    assert {removal.key for removal in _plan(store).removals} == keys


def _mark(store: LocalStore, *names: str) -> None:
    pointer = json.loads(store.read("current.json"))
    store.write("current.json", json.dumps({**pointer, "removing": names}).encode())


@pytest.mark.parametrize("which", [1, 2], ids=["previous", "current"])
def test_marks_on_what_readers_need_are_refused_whatever_the_file_says(
    store: LocalStore, which: int
) -> None:
    marked = _three_snapshots(store)[which]
    _mark(store, marked.snapshot_id)
    with pytest.raises(DatasetError, match=r"current\.json is damaged: its `removing` names"):
        _plan(store, Retention())


def test_a_mark_on_a_newer_snapshot_removes_nothing_by_itself(store: LocalStore) -> None:
    first, second, third, newest = (_commit(store, index) for index in range(4))
    roll_back(store, second.snapshot_id)
    roll_back(store, first.snapshot_id)
    _mark(store, third.snapshot_id, newest.snapshot_id)
    plan = _plan(store, Retention())
    assert plan.snapshots == ()
    collect_garbage(store, plan)
    assert all(store.exists(part.key) for part in newest.parts)
    pointer = read_pointer(store)
    assert pointer is not None and len(pointer.removing) == 2
    old = _plan(store, Retention(older_than=2))  # when it is asked for they go
    assert set(old.snapshots) == {third.snapshot_id, newest.snapshot_id}


def test_a_young_snapshot_stays_although_it_is_marked(store: LocalStore) -> None:
    first, *_ = _three_snapshots(store)
    _mark(store, first.snapshot_id)
    assert plan_gc(store, Retention(), datetime.now(UTC)).snapshots == ()


@pytest.mark.parametrize("data", [b"[]", b'{"parts": 3}', b"null", b"[" * 100_000])
def test_a_damaged_marker_of_finished_work_is_named(store: LocalStore, data: bytes) -> None:
    _commit(store, 0)
    store.write("work/run/00007/done.json", data)
    with pytest.raises(StorageError, match=r"work/run/00007/done\.json is damaged: delete"):
        _plan(store)


OWNER = "ab" * 16


def _lease(store: LocalStore, *, owner_age: timedelta) -> None:
    """Leave an unfinished shard of old, with a lease whose owner has last beaten so long ago."""
    WorkFolder(store, "divided", 0).write_json("split.json", {})
    store.write("work/divided/leases/00000", b"lease")
    store.write(f"work/divided/leases/beats/{OWNER}", b"beat")
    beaten = (datetime.now(UTC) + LATER - owner_age).timestamp()
    os.utime(store.root / f"work/divided/leases/beats/{OWNER}", (beaten, beaten))


ABANDONED = Retention(abandoned_work=2)


def test_work_that_somebody_holds_a_lease_on_stays(store: LocalStore) -> None:
    _commit(store, 0)
    _lease(store, owner_age=timedelta(minutes=1))
    assert not any("divided" in removal.key for removal in _plan(store, ABANDONED).removals)


def test_leases_of_the_dead_go_after_the_grace(store: LocalStore) -> None:
    _commit(store, 0)
    _lease(store, owner_age=timedelta(days=2))
    dead = {each.key for each in _plan(store).removals if each.why is Garbage.DEAD_LEASE}
    assert dead == {"work/divided/leases/00000", f"work/divided/leases/beats/{OWNER}"}
    assert Garbage.ABANDONED_WORK in _kinds(_plan(store, ABANDONED))
