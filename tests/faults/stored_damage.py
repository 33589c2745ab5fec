"""Parts that are damaged where they lie, and rows that point nowhere.

Each part of a dataset is deleted, cut short, exchanged for another, and gets single bits flipped
all over its length. Nobody may read other rows or pixels than were written, nobody may write them
anew under a hash that fits them, `verify` must name the very part (or row), and when the part is
put back the dataset must be whole.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.publish import publish_snapshot
from coupled_core.dataset.commit.upload import upload_part
from coupled_core.dataset.parts import PartInfo, write_manifest_file
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.history import roll_back
from coupled_core.errors import DatasetError
from coupled_core.export.edits import ExportedPair
from coupled_core.export.pair_images import read_pairs
from coupled_core.export.plan import Selection, iter_windows
from coupled_core.storage.store import ObjectStore
from tests.faults.disturbances import Reader, Tally, in_time, take_report
from tests.faults.operations import State, find_damage, list_damage, operation_named
from tests.sample_shards import describe_run, publish

_OF_BYTES = {Flaw.PART_MISSING, Flaw.PART_SIZE, Flaw.PART_HASH}
_SELECTION = Selection(partitions=("train", "val", "test"))


@dataclass(frozen=True)
class Injury:
    """What is done to one part."""

    what: str
    part: PartInfo
    data: bytes | None
    """What lies there instead; None: nothing."""

    def inflict(self, store: ObjectStore) -> None:
        """Do it."""
        if self.data is None:
            store.delete(self.part.key)
        else:
            store.write(self.part.key, self.data)


def read_all(store: ObjectStore) -> State:
    """Return hashes of whole rows, and of images as exports read them."""
    snapshot = current_snapshot(store)
    assert snapshot is not None
    rows = [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]
    pairs = [[image.sha256 for image in pair.images] for pair in _pairs(store, snapshot)]
    contents = (hashlib.sha256(repr(each).encode()).hexdigest() for each in (*rows, *pairs))
    return tuple(sorted((digest, True) for digest in contents))


def damage_parts(store: ObjectStore, watcher: Reader, num_flips: int) -> Tally:
    """Damage every part of a dataset in every way, one at a time."""
    tally, snapshot = Tally(), _make_dataset(store)
    whole = read_all(store)
    for injury in in_time(_injuries(store, snapshot, num_flips)):
        before = store.read(injury.part.key)
        watcher.expect(store.uri, read_all, (whole,), may_fail=True)
        injury.inflict(store)
        tally.injections += 1
        tally.problems += [f"{injury.what}: {text}" for text in _judge(store, injury, whole)]
        store.write(injury.part.key, before)
        take_report(tally, watcher)
        tally.survived += _is_whole(tally, store, whole, injury.what)
    return tally


def point_nowhere(store: ObjectStore, watcher: Reader) -> Tally:
    """Write snapshots that own up to a manifest row which names no image, or another pair's."""
    tally, snapshot = Tally(), _make_dataset(store)
    whole = read_all(store)
    other = snapshot.parts_of("images")[1].key
    for change in (
        {"image_part": "images/part-00000-00000000.parquet"},
        {"image_part": other},
        {"image_part": None, "image_row": None},
        {"image_row": 1},
        {"image_row": 99},
        {"image_row": -1},
    ):
        what = f"a row with {change}"
        wrong, key, pair_id = _with_changed_row(store, snapshot, change)
        watcher.expect(store.uri, read_all, (whole,), may_fail=True)
        assert publish_snapshot(store, wrong, read_pointer(store))
        tally.injections += 1
        named = [str(damage) for damage in find_damage(store)]
        if not any(f"{key} row 0" in text and pair_id in text for text in named):
            tally.problems.append(f"{what}: verify names {named}")
        if not _is_refused(partial(list, _pairs(store, wrong))):
            tally.problems.append(f"{what}: a reader of images took it")
        roll_back(store, "parent")
        take_report(tally, watcher)
        tally.survived += _is_whole(tally, store, whole, what)
    return tally


def _make_dataset(store: ObjectStore) -> Snapshot:
    shards = [publish(store, "run", index, num_kept=2 + index) for index in range(2)]
    snapshot = commit_shards(store, shards, describe_run("run"))
    assert snapshot is not None
    return snapshot


def _injuries(store: ObjectStore, snapshot: Snapshot, num_flips: int) -> Iterator[Injury]:
    for part in snapshot.parts:
        data = store.read(part.key)
        twin = next(p for p in snapshot.parts if p.kind == part.kind and p != part)
        for what, found in {
            "deleted": None,
            "emptied": b"",
            "cut in half": data[: len(data) // 2],
            "without its last byte": data[:-1],
            "with a byte more": data + b"\0",
            "exchanged for another": store.read(twin.key),
            **_flips(data, num_flips),
        }.items():
            yield Injury(f"{part.key} {what}", part, found)


def _flips(data: bytes, num_flips: int) -> dict[str, bytes]:
    """Flip one bit at a time, at places spread evenly over the data."""
    flipped = {}
    for index in range(num_flips):
        position, damaged = (2 * index + 1) * len(data) // (2 * num_flips), bytearray(data)
        damaged[position] ^= 1 << index % 8
        flipped[f"with bit {index % 8} of byte {position} flipped"] = bytes(damaged)
    return flipped


def _judge(store: ObjectStore, injury: Injury, whole: State) -> Iterator[str]:
    """Say what is wrong about how a damaged dataset is met."""
    try:
        if read_all(store) != whole:
            yield "a reader got something else"
    except DatasetError as error:
        if injury.part.key not in str(error):
            yield f"a reader was not told where: {error}"
    named = {damage.part for damage in find_damage(store) if damage.check in _OF_BYTES}
    if named != {injury.part.key}:
        yield f"verify names {named}"
    if injury.part.kind == "manifest" and not _is_refused(lambda: _recut(store)):
        yield "it was written anew under a hash that fits it"


def _recut(store: ObjectStore) -> None:
    operation_named("recut").act(store)


def _is_refused(act: Callable[[], Any]) -> bool:
    try:
        act()
    except DatasetError:
        return True
    return False


def _pairs(store: ObjectStore, snapshot: Snapshot) -> Iterator[ExportedPair]:
    for window in iter_windows(store, snapshot, _SELECTION):
        yield from read_pairs(store, window)


def _is_whole(tally: Tally, store: ObjectStore, whole: State, what: str) -> bool:
    """Compare a dataset that was put right again with what it was."""
    found, damage = read_all(store), list_damage(store)
    tally.rows_lost += len(set(whole) - set(found))
    tally.rows_doubled += len(found) - len(set(found))
    tally.damaged += bool(damage)
    tally.problems += [f"{what}, put right: {text}" for text in damage[:1]]
    return found == whole and not damage


def _with_changed_row(
    store: ObjectStore, snapshot: Snapshot, change: Mapping[str, Any]
) -> tuple[Snapshot, str, str]:
    """Return a snapshot whose first row says something else, the row's part and its pair."""
    part = snapshot.parts_of("manifest")[0]
    with store.open_input(part.key) as source:
        table = pq.read_table(source)
    rows = table.to_pylist()
    rows[0].update(change)
    with tempfile.TemporaryDirectory() as folder:
        file = write_manifest_file(rows, Path(folder), part.shard_index)
        new = upload_part(store, file, part.run_id)
    parts = (new, *(each for each in snapshot.parts if each != part))
    wrong = Snapshot.create(parent=snapshot.snapshot_id, runs=snapshot.runs, parts=parts)
    return wrong, new.key, rows[0]["pair_id"]
