"""Readers see whole states only, in the present schema, and images that the manifest describes."""

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.columns import IMAGE_FIELDS, MANIFEST_SCHEMA
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import (
    current_snapshot,
    iter_manifest,
    iter_rows,
    iter_stored_images,
)
from coupled_core.dataset.rows import Row
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish
from tests.stored_images import iter_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_a_reader_that_looks_all_the_time_never_sees_half_a_shard(store: LocalStore) -> None:
    seen, is_over = set(), threading.Event()

    def write() -> None:
        for index in range(8):
            commit_shards(store, [publish(store, "run", index)], describe_run("run"))
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not is_over.is_set():
        snapshot = current_snapshot(store)
        parts = snapshot.parts if snapshot else ()
        num_rows = sum(b.num_rows for b in iter_manifest(store, parts, ["pair_id"]))
        num_images = sum(b.num_rows for b in iter_images(store, parts))
        seen.add((num_rows, num_images))
    writer.join()
    assert seen <= {(5 * count, 2 * count) for count in range(9)}
    assert len(seen) > 2


def test_columns_that_an_old_part_lacks_are_null(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    path = store.root / part.key
    old = pq.read_table(path).drop_columns(["use_restrictions", "pixel_mse"])
    pq.write_table(old, path)
    part = part.model_copy(update={"size_bytes": path.stat().st_size})
    batch = next(iter_manifest(store, [part], batch_rows=2))
    assert batch.num_rows == 2
    assert batch.schema.equals(MANIFEST_SCHEMA)
    assert batch["pixel_mse"].null_count == 2
    only = next(iter_manifest(store, [part], ["use_restrictions", "pair_id"]))
    assert only.schema.names == ["use_restrictions", "pair_id"]


def test_a_flipped_bit_in_a_page_is_an_error_that_names_the_part(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    data = bytearray(store.read(part.key))
    column = pq.read_metadata(store.root / part.key).row_group(0).column(0)
    assert column.path_in_schema == "pair_id"
    data[column.dictionary_page_offset + column.total_compressed_size // 2] ^= 1
    store.write(part.key, bytes(data))
    with pytest.raises(DatasetError, match=part.key):
        list(iter_manifest(store, [part]))


@pytest.mark.parametrize("name", ["combined", "prompt_0", "reject_reasons"])
def test_no_flipped_bit_of_a_column_gives_other_rows(store: LocalStore, name: str) -> None:
    part = publish(store, "run", 0).parts[0]
    data = store.read(part.key)
    whole = [row for b in iter_manifest(store, [part], [name]) for row in b.to_pylist()]
    start, length = _place_of(store.root / part.key, name)
    num_refused = 0
    for bit in range(8 * length):
        damaged = bytearray(data)
        damaged[start + bit // 8] ^= 1 << bit % 8
        (store.root / part.key).write_bytes(damaged)
        try:
            found = [row for b in iter_manifest(store, [part], [name]) for row in b.to_pylist()]
        except DatasetError:
            num_refused += 1
        else:
            assert found == whole, f"bit {bit} of {8 * length}"
    assert num_refused > 4 * length  # statistics in headers may be wrong, nobody reads them


def _place_of(path: Path, name: str) -> tuple[int, int]:
    """Return offset and length of a column's pages, their headers included."""
    group = pq.read_metadata(path).row_group(0)
    columns = (group.column(index) for index in range(group.num_columns))
    column = next(each for each in columns if each.path_in_schema.split(".")[0] == name)
    offsets = (column.dictionary_page_offset, column.data_page_offset)
    return min(offset for offset in offsets if offset is not None), column.total_compressed_size


def test_a_whole_part_in_the_place_of_another_is_refused(store: LocalStore) -> None:
    first, second = (publish(store, "run", n, num_kept=2 + n).parts[0] for n in range(2))
    store.write(first.key, store.read(second.key))
    with pytest.raises(DatasetError, match=f"{first.key} is damaged: expected 5 rows .* got 6"):
        list(iter_manifest(store, [first]))


def test_a_column_under_another_name_is_refused(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    path = store.root / part.key
    table = pq.read_table(path)
    names = ["Combined" if name == "combined" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    part = part.model_copy(update={"size_bytes": path.stat().st_size})
    with pytest.raises(DatasetError, match=r"has columns \['Combined'\] and lacks \['combined'\]"):
        list(iter_manifest(store, [part]))


@pytest.fixture
def kept(store: LocalStore) -> list[Row]:
    """Three kept rows of each of two shards."""
    parts = [part for n in range(2) for part in publish(store, "run", n, num_kept=3).parts]
    return [row for row in iter_rows(iter_manifest(store, parts)) if row["kept"]]


@pytest.mark.parametrize("fields", [None, IMAGE_FIELDS[:2]])
def test_stored_images_come_in_the_order_of_their_places(
    store: LocalStore, kept: list[Row], fields: tuple[str, ...] | None
) -> None:
    wanted = kept[::-1]
    del wanted[1]
    found = list(iter_stored_images(store, wanted, fields))
    assert [row for row, _ in found] == wanted[::-1]
    for row, images in found:
        whole = pq.read_table(store.root / row["image_part"]).to_pylist()[row["image_row"]]
        names = whole if fields is None else ("pair_id", *fields)
        assert images == {name: whole[name] for name in names}


def test_another_pair_in_a_place_is_refused(store: LocalStore, kept: list[Row]) -> None:
    row = {**kept[0], "image_row": kept[1]["image_row"]}
    with pytest.raises(DatasetError, match=f"expects {row['pair_id']}"):
        list(iter_stored_images(store, [row]))


@pytest.mark.parametrize("number", [0, 1])
def test_an_image_that_is_not_the_one_of_the_manifest_is_refused(
    store: LocalStore, kept: list[Row], number: int
) -> None:
    row = {**kept[0], f"image_{number}_sha256": "0" * 64}
    with pytest.raises(DatasetError, match=rf"image {number} of pair .* the manifest expects 0000"):
        list(iter_stored_images(store, [row]))


@pytest.mark.parametrize("place", [99, -1])
def test_a_place_that_its_part_does_not_have_is_named(
    store: LocalStore, kept: list[Row], place: int
) -> None:
    row = {**kept[0], "image_row": place}
    with pytest.raises(DatasetError, match=f"names row {place} of .* which has 3 rows"):
        list(iter_stored_images(store, [row]))


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_missing_or_cut_image_part_is_named(
    store: LocalStore, kept: list[Row], damage: str
) -> None:
    part = store.root / kept[0]["image_part"]
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=part.name):
        list(iter_stored_images(store, kept))


def test_row_groups_that_nobody_asked_for_are_not_read(store: LocalStore, kept: list[Row]) -> None:
    part = store.root / kept[0]["image_part"]
    table = pq.read_table(part)
    pq.write_table(table, part, row_group_size=1)
    first_group = pq.ParquetFile(part).metadata.row_group(0)
    start = first_group.column(1).data_page_offset
    data = bytearray(part.read_bytes())
    data[start : start + 64] = b"\xff" * 64  # whoever reads this group notices
    part.write_bytes(data)
    assert len(list(iter_stored_images(store, kept[1:]))) == 5
    with pytest.raises(DatasetError):
        list(iter_stored_images(store, kept[:1]))


def test_two_rows_that_name_one_place_are_refused(store: LocalStore, kept: list[Row]) -> None:
    first, second = kept[:2]
    second = {**second, "image_row": first["image_row"]}
    with pytest.raises(DatasetError, match=f"{first['pair_id']} and {second['pair_id']}"):
        list(iter_stored_images(store, [first, second]))
