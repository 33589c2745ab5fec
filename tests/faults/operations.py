"""Everything that changes a dataset, as steps that a test can disturb, and what is right after."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from coupled_core.config import Retention
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot, find_snapshot, iter_manifest
from coupled_core.dataset.upkeep.compact import compact
from coupled_core.dataset.upkeep.damage import Damage
from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc
from coupled_core.dataset.upkeep.history import roll_back
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.review import DROP, FORMAT, DecisionFile, apply_decisions
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import describe_run, publish
from tests.stored_images import iter_images

State = tuple[tuple[str, bool], ...]
"""What a reader sees: id and `kept` of each row, sorted; a row that is doubled stands twice."""
Read = Callable[[ObjectStore], State]
_STRICTER = {"min_combined": 1.9551}
"""Just above what the rows of `sample_shards` have."""


@dataclass(frozen=True)
class Operation:
    """One change of a dataset."""

    name: str
    prepare: Callable[[ObjectStore], None]
    act: Callable[[ObjectStore], None]
    """May be repeated after it was disturbed, and then completes what is missing."""


@dataclass(frozen=True)
class Template:
    """A prepared dataset, and the states before and after an operation."""

    operation: Operation
    objects: dict[str, bytes]
    before: State
    after: State

    def copy_to(self, store: ObjectStore) -> None:
        """Write the prepared dataset."""
        for key, data in self.objects.items():
            store.write(key, data)


def make_template(operation: Operation, folder: Path) -> Template:
    """Carry an operation out undisturbed, on disk."""
    store = LocalStore(folder / "before")
    operation.prepare(store)
    objects = {info.key: store.read(info.key) for info in store.list("")}
    before = read_state(store)
    operation.act(store)
    return Template(operation, objects, before, read_state(store))


def read_state(store: ObjectStore) -> State:
    """Return what a reader sees now, following pointer, snapshot, parts; kept pairs have images."""
    snapshot = current_snapshot(store)
    if snapshot is None:
        return ()
    rows = [
        (row["pair_id"], row["kept"])
        for batch in iter_manifest(store, snapshot.parts, ["pair_id", "kept"])
        for row in batch.to_pylist()
    ]
    shown = {name for b in iter_images(store, snapshot.parts) for name in b[0].to_pylist()}
    assert {name for name, kept in rows if kept} <= shown, "a kept pair has no images"
    return tuple(sorted(rows))


def find_damage(store: ObjectStore) -> list[Damage]:
    """Return everything that `verify` has against the current snapshot."""
    report = verify_snapshot(store, find_snapshot(store, "current"), num_threads=1)
    return report.damage.listed


def list_damage(store: ObjectStore) -> list[str]:
    """Return the same in words."""
    return [str(damage) for damage in find_damage(store)]


def _commit(store: ObjectStore, index: int, run: str = "run") -> None:
    commit_shards(store, [publish(store, run, index, num_kept=1)], describe_run(run))


def _prepare_one(store: ObjectStore) -> None:
    _commit(store, 0)


def _prepare_garbage(store: ObjectStore) -> None:
    """Make three snapshots, a part that nothing names, finished work and a probe."""
    for index in range(3):
        _commit(store, index)
    publish(store, "lost", 9, num_kept=1)
    done = publish(store, "run", 0, num_kept=1)
    WorkFolder(store, "run", 0).write_json("split.json", {})
    WorkFolder(store, "run", 0).write_done(done.model_dump(mode="json"))
    store.write("work/probe-0", b"first")


def _roll_back(store: ObjectStore) -> None:
    snapshot = current_snapshot(store)
    if snapshot is not None and snapshot.parent is not None:  # a repetition has nothing to do
        roll_back(store, "parent")


def _collect(store: ObjectStore) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    collect_garbage(store, plan_gc(store, Retention(keep_snapshots=1), later))


def _prepare_two(store: ObjectStore) -> None:
    for index in range(2):
        _commit(store, index)


OPERATIONS = (
    Operation("commit", _prepare_one, lambda store: _commit(store, 1, "new")),
    Operation("first commit", lambda store: None, lambda store: _commit(store, 1, "new")),
    Operation("recut", _prepare_one, lambda store: _recut(store)),
    Operation("compact", _prepare_two, lambda store: _compact(store)),
    Operation("review", _prepare_one, lambda store: _review(store)),
    Operation("rollback", _prepare_two, _roll_back),
    Operation("gc", _prepare_garbage, _collect),
)

LARGE_COMMIT = Operation("large commit", _prepare_one, lambda store: _commit_large(store))
"""Of a part that goes up to S3 in pieces: noise of this size takes 21 MB as PNG."""
_LARGE_SIDE_PX = 1888


def _commit_large(store: ObjectStore) -> None:
    shard = publish(store, "new", 1, num_kept=1, num_dropped=0, side_px=_LARGE_SIDE_PX)
    commit_shards(store, [shard], describe_run("new"))


def _recut(store: ObjectStore) -> None:
    recut(store, _STRICTER)


def _compact(store: ObjectStore) -> None:
    compact(store)


def _review(store: ObjectStore) -> None:
    decisions = {f"{0:016x}{0:016x}": DROP}
    apply_decisions(
        store, DecisionFile(format=FORMAT, dataset="", snapshot_id="", decisions=decisions)
    )


def operation_named(name: str) -> Operation:
    """Return an operation; functions do not travel between processes, names do."""
    return next(each for each in (*OPERATIONS, LARGE_COMMIT) if each.name == name)
