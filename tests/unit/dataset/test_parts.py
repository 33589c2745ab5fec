"""Parts are deterministic, and bounded in bytes."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.columns import IMAGE_FIELDS, IMAGES_SCHEMA, SCHEMA_VERSION
from coupled_core.dataset.parts import ImageFiles, write_manifest_file
from coupled_core.storage.local import LocalStore
from tests.sample_shards import make_rows, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (publish(LocalStore(tmp_path / name), "run", 0) for name in ("a", "b"))
    assert [part.key for part in first.parts] == [part.key for part in second.parts]
    assert [part.sha256 for part in first.parts] == [part.sha256 for part in second.parts]


def test_files_carry_the_schema_version_and_suit_their_content(store: LocalStore) -> None:
    manifest, images = (
        pq.read_metadata(store.root / part.key) for part in publish(store, "run", 0).parts
    )
    assert manifest.metadata[b"schema_version"] == SCHEMA_VERSION.encode()
    assert images.metadata[b"schema_version"] == b"1.0"  # their columns have not changed
    assert manifest.row_group(0).column(0).compression == "ZSTD"
    pixels = images.row_group(0).column(1)
    assert (pixels.path_in_schema, pixels.compression) == ("image_0.bytes", "UNCOMPRESSED")
    assert not pixels.is_stats_set  # they would hold image bytes


def test_a_manifest_declares_its_order_and_has_statistics_of_what_people_filter_by(
    tmp_path: Path,
) -> None:
    rows = make_rows("run", 0, num_kept=4, num_dropped=2).rows
    for index, row in enumerate(rows):
        row["source_row"] = index // 2
    (tmp_path / "sorted").mkdir()
    with pq.ParquetFile(write_manifest_file(rows, tmp_path / "sorted", 0).path) as file:
        group = file.metadata.row_group(0)
        names = [file.schema.column(each.column_index).path for each in group.sorting_columns]
        assert names == ["source_file", "source_row"]
        columns = [group.column(place) for place in range(group.num_columns)]
        filtered = {"kept", "status", "partition", "combined", "background_prompt", "group_id"}
        found = {c.path_in_schema for c in columns if c.statistics and c.statistics.has_min_max}
        assert filtered <= found
    with pq.ParquetFile(write_manifest_file(rows[::-1], tmp_path, 0).path) as file:
        assert file.metadata.row_group(0).sorting_columns == ()


def test_row_groups_and_parts_are_bounded_by_bytes(tmp_path: Path) -> None:
    made = make_rows("run", 0, num_kept=10)
    row_bytes = sum(len(made.image_rows[0][name]["bytes"]) for name in IMAGE_FIELDS)
    images = ImageFiles(tmp_path, 0, row_group_bytes=row_bytes * 2 + 100, part_bytes=row_bytes * 5)
    for row in made.image_rows:
        images.add(row)
    files = images.finish()
    groups = [pq.ParquetFile(file.path).metadata.num_row_groups for file in files]
    assert [file.num_rows for file in files] == [6, 4]
    assert groups == [3, 2]
    assert images.places[made.image_rows[-1]["pair_id"]] == (files[1].key, 3)
    assert pq.read_schema(files[0].path).equals(IMAGES_SCHEMA)
