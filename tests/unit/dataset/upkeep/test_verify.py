"""`verify` passes what is whole, and names each kind of damage by part, row, expected and got."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.images import encode_image, encode_mask
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.damage import Damage, Flaw
from coupled_core.dataset.upkeep.verify import VerifyReport, verify_snapshot
from coupled_core.storage.local import LocalStore
from tests.sample_shards import ShardRows, describe_run, make_rows, publish, with_images

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _commit(store: LocalStore, made: ShardRows, run: RunInfo | None = None) -> Snapshot:
    """Commit rows as they are, with images that their hashes fit, whatever else they say."""
    shard = upload_shard(
        store, with_images(made.rows, made.image_rows), run_id="run", shard_index=0
    )
    snapshot = commit_shards(store, [shard], run or describe_run("run"))
    assert snapshot is not None
    return snapshot


def _verify(store: LocalStore, snapshot: Snapshot) -> VerifyReport:
    return verify_snapshot(store, snapshot, num_threads=2)


def _only(report: VerifyReport) -> Damage:
    assert [str(each) for each in report.damage.listed][1:] == []
    return report.damage.listed[0]


def _rewrite(
    store: LocalStore, snapshot: Snapshot, part: PartInfo, change: Callable[[pa.Table], pa.Table]
) -> Snapshot:
    """Replace a part by another one in a snapshot that owns up to it: only its rows are wrong."""
    buffer = io.BytesIO()
    table = change(pq.read_table(store.root / part.key))
    pq.write_table(table, buffer)
    store.write(part.key, buffer.getvalue())
    info = store.stat(part.key)
    facts = {"sha256": info.etag, "size_bytes": info.size_bytes, "num_rows": table.num_rows}
    parts = (*(p for p in snapshot.parts if p != part), part.model_copy(update=facts))
    return Snapshot.create(parent=None, runs=snapshot.runs, parts=parts)


def _change_row(store: LocalStore, snapshot: Snapshot, kind: str, row: int, change: Change) -> Any:
    def apply(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        change(rows[row])
        return pa.Table.from_pylist(rows, schema=table.schema)

    return _rewrite(store, snapshot, snapshot.parts_of(kind)[0], apply)  # type: ignore[arg-type]


def test_a_whole_dataset_passes_and_is_counted(store: LocalStore) -> None:
    shards = [publish(store, "run", index) for index in range(3)]
    snapshot = commit_shards(store, shards, describe_run("run"))
    assert snapshot is not None
    report = _verify(store, snapshot)
    assert [str(each) for each in report.damage.listed] == []
    assert (report.num_parts, report.num_rows, report.num_compared) == (6, 15, 6)
    assert report.num_bytes == sum(part.size_bytes for part in snapshot.parts)


def test_a_missing_part_is_named(store: LocalStore) -> None:
    snapshot = _commit(store, make_rows("run", 0))
    part = snapshot.parts_of("images")[0]
    store.delete(part.key)
    found = _only(_verify(store, snapshot))
    assert (found.check, found.part, found.got) == (Flaw.PART_MISSING, part.key, "no object")


@pytest.mark.parametrize("kind", ["manifest", "images"])
def test_a_truncated_part_is_named_with_both_sizes(store: LocalStore, kind: str) -> None:
    snapshot = _commit(store, make_rows("run", 0))
    part = next(part for part in snapshot.parts if part.kind == kind)
    store.write(part.key, store.read(part.key)[:-50])
    report = _verify(store, snapshot)
    named = {damage.check: damage for damage in report.damage.listed if damage.part == part.key}
    assert {Flaw.PART_SIZE, Flaw.PART_HASH, Flaw.PART_FORMAT} <= named.keys()
    assert named[Flaw.PART_SIZE].expected == f"{part.size_bytes} bytes"
    assert named[Flaw.PART_SIZE].got == str(part.size_bytes - 50)


@pytest.mark.parametrize(
    ("kind", "column"), [("images", "image_1"), ("images", "pair_id"), ("manifest", "pair_id")]
)
def test_a_part_without_a_column_is_named(store: LocalStore, kind: str, column: str) -> None:
    whole = _commit(store, make_rows("run", 0))
    part = whole.parts_of(kind)[0]
    damaged = _rewrite(store, whole, part, lambda table: table.drop_columns([column]))
    damage = _verify(store, damaged).damage.listed[0]
    assert (damage.check, damage.part) == (Flaw.PART_FORMAT, part.key)
    assert column in damage.expected and column not in damage.got


@pytest.mark.parametrize("kind", ["images", "manifest"])
def test_a_column_of_another_type_is_named(store: LocalStore, kind: str) -> None:
    whole = _commit(store, make_rows("run", 0))
    part = whole.parts_of(kind)[0]

    def retype(table: pa.Table) -> pa.Table:
        column = pa.field("pair_id", pa.binary(), nullable=False)
        return table.set_column(0, column, table["pair_id"].cast(pa.binary()))

    damage = _verify(store, _rewrite(store, whole, part, retype)).damage.listed[0]
    assert (damage.check, damage.part) == (Flaw.PART_FORMAT, part.key)
    assert damage.got == "column pair_id of binary, never null"


def test_one_flipped_bit_in_an_image_is_traced_to_its_pair(store: LocalStore) -> None:
    made = make_rows("run", 0)
    snapshot = _commit(store, made)
    part = snapshot.parts_of("images")[0]
    data = bytearray(store.read(part.key))
    inside = data.index(made.image_rows[1]["image_0"]["bytes"]) + 60
    data[inside] ^= 1
    store.write(part.key, bytes(data))
    report = _verify(store, snapshot)
    hashes = [d for d in report.damage.listed if d.check is Flaw.IMAGE_HASH]
    assert Flaw.PART_HASH in report.damage.counts
    assert [(d.part, d.row, d.pair_id) for d in hashes] == [
        (part.key, 1, made.image_rows[1]["pair_id"])
    ]
    assert hashes[0].expected == f"SHA-256 {made.rows[1]['image_0_sha256']} of image_0"


def test_two_rows_of_one_id_are_named_with_both_places(store: LocalStore) -> None:
    snapshot = _commit(store, make_rows("run", 0))

    def double(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table, table.slice(2, 1)])

    part = snapshot.parts_of("manifest")[0]
    report = _verify(store, _rewrite(store, snapshot, part, double))
    named = [d for d in report.damage.listed if d.check is Flaw.PAIR_ID]
    assert [(d.row, d.got) for d in named] == [(5, f"the id of {part.key} row 2")]
    assert Flaw.FUNNEL in report.damage.counts


def _set(**values: Any) -> Change:
    return lambda row: row.update(values)


@pytest.mark.parametrize(
    ("row", "change", "check", "got"),
    [
        (0, _set(image_part="images/none.parquet"), Flaw.PLACE, "images/none.parquet"),
        (0, _set(image_row=7), Flaw.PLACE, "7"),
        (0, _set(image_part=None, image_row=None), Flaw.PLACE, "none stored"),
        (0, _set(combined=0.1), Flaw.THRESHOLDS, "below_min_combined"),
        (0, _set(mask_0_area_fraction=0.9), Flaw.THRESHOLDS, "mask_too_large"),
        (1, _set(reject_reasons=["unsafe"]), Flaw.DECISION, "['unsafe']"),
        (2, _set(reject_reasons=[]), Flaw.DECISION, "[]"),
        (0, _set(clip_sim_0=None), Flaw.DECISION, "['clip_sim_0']"),
        (0, _set(review_status="drop"), Flaw.DECISION, "kept"),
        (1, _set(partition="test"), Flaw.BACKGROUND_PARTITION, "test"),
        (1, _set(width=99), Flaw.IMAGE_SIZE, "(16, 16)"),
        (1, _set(image_0_bytes=5), Flaw.IMAGE_BYTES, ""),
        (1, _set(mask_1_area_fraction=0.2), Flaw.MASK, "0.0625"),
    ],
)
def test_a_manifest_row_that_lies_is_named(
    store: LocalStore, row: int, change: Change, check: Flaw, got: str
) -> None:
    snapshot = _change_row(store, _commit(store, make_rows("run", 0)), "manifest", row, change)
    found = [d for d in _verify(store, snapshot).damage.listed if d.check is check]
    assert found and got in found[0].got
    assert found[0].row is not None and found[0].part in {part.key for part in snapshot.parts}


def test_a_group_in_two_partitions_is_named(store: LocalStore) -> None:
    def leak(row: dict[str, Any]) -> None:
        row.update(group_id="group-0-0", background_prompt="another lake", partition="val")

    snapshot = _change_row(store, _commit(store, make_rows("run", 0)), "manifest", 1, leak)
    named = [d for d in _verify(store, snapshot).damage.listed if d.check is Flaw.GROUP_PARTITION]
    part = snapshot.parts_of("manifest")[0].key
    assert [(d.part, d.row, d.got, d.expected) for d in named] == [
        (part, 1, "val", f"train, as in {part} row 0")
    ]


def test_an_image_of_another_pair_is_named(store: LocalStore) -> None:
    snapshot = _change_row(
        store, _commit(store, make_rows("run", 0)), "images", 0, _set(pair_id="f" * 32)
    )
    found = _only(_verify(store, snapshot))
    assert (found.check, found.row, found.got) == (Flaw.IMAGE_ROW, 0, f"pair {'f' * 32}")


def test_images_of_two_sizes_are_named(store: LocalStore) -> None:
    larger = encode_image(np.zeros((24, 24, 3), np.uint8)).data
    change = _set(image_1={"bytes": larger, "path": "x.png"})
    snapshot = _change_row(store, _commit(store, make_rows("run", 0)), "images", 0, change)
    checks = {d.check: d for d in _verify(store, snapshot).damage.listed}
    assert checks[Flaw.IMAGE_SIZE].got == "(24, 24)"


@pytest.mark.parametrize("data", [b"", b"not a picture", encode_mask(np.ones((8, 8), bool))[:40]])
def test_images_and_masks_that_do_not_decode_are_named(store: LocalStore, data: bytes) -> None:
    broken = {"bytes": data, "path": "x.png"}
    change = _set(image_0=broken, mask_1=broken)
    snapshot = _change_row(store, _commit(store, make_rows("run", 0)), "images", 1, change)
    checks = {d.check: d.row for d in _verify(store, snapshot).damage.listed}
    assert checks[Flaw.IMAGE_FORMAT] == checks[Flaw.MASK] == 1


def test_a_funnel_that_says_something_else_is_named(store: LocalStore) -> None:
    snapshot = _commit(store, make_rows("run", 0))
    run = snapshot.runs[0]
    plain = run.funnel.to_dict() | {"pairs_planned": 5}
    wrong = run.model_copy(update={"funnel": Funnel.from_dict(plain)})
    changed = Snapshot.create(parent=None, runs=(wrong,), parts=snapshot.parts)
    found = _only(_verify(store, changed))
    assert (found.check, found.expected, found.got) == (
        Flaw.FUNNEL,
        "pairs_planned = 5 of run run",
        "4",
    )


def test_every_run_is_held_to_its_own_thresholds(store: LocalStore) -> None:
    strict = describe_run("run").model_copy(update={"config": {"filter": {"min_combined": 1.9551}}})
    report = _verify(store, _commit(store, make_rows("run", 0), strict))
    assert report.damage.counts == {Flaw.THRESHOLDS: 2}
    assert "expected a kept pair within the thresholds, got below_min_combined" in str(
        report.damage.listed[0]
    )


def _count_lines(store: LocalStore, num_shards: int) -> int:
    """Return how many lines of `verify.py` run for a dataset of so many shards."""
    shards = [publish(store, "run", index, num_kept=1) for index in range(num_shards)]
    snapshot = commit_shards(store, shards, describe_run("run"))
    assert snapshot is not None
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != verify_snapshot.__code__.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        verify_snapshot(store, snapshot, num_threads=1)
    finally:
        sys.settrace(before)
    return count


def test_twice_as_many_shards_are_twice_the_work(tmp_path: Path) -> None:
    once, twice = (_count_lines(LocalStore(tmp_path / str(n)), n) for n in (12, 24))
    assert twice <= 2 * once
