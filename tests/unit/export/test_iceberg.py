"""An Iceberg table shows the rows of a snapshot by naming its parts."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.columns import COLUMNS, MANIFEST_SCHEMA
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.export.iceberg import Published, publish_snapshot
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish
from tests.unit.flows.cli.invoke import run

sql = pytest.importorskip("pyiceberg.catalog.sql")
TABLE = "images.pairs"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "pairs")
    commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    return store


@pytest.fixture
def catalog(tmp_path: Path):
    found = sql.SqlCatalog(
        "default", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse"
    )
    yield found
    found.close()


def _current(store: LocalStore) -> Snapshot:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return snapshot


def test_a_table_shows_all_rows_and_what_columns_mean(store: LocalStore, catalog) -> None:
    assert publish_snapshot(store, _current(store), catalog, TABLE) == Published(1, 0, 5)
    table = catalog.load_table(TABLE)
    assert table.scan(row_filter="kept = true").to_arrow().num_rows == 2
    assert [field.doc for field in table.schema().fields] == [c.meaning for c in COLUMNS]
    (path,) = [task.file.file_path for task in table.scan().plan_files()]
    assert path == f"file://{store.uri}/{_current(store).parts_of('manifest')[0].key}"


def test_publishing_again_does_nothing(store: LocalStore, catalog) -> None:
    publish_snapshot(store, _current(store), catalog, TABLE)
    before = catalog.load_table(TABLE).metadata_location
    assert publish_snapshot(store, _current(store), catalog, TABLE) == Published(0, 0, 5)
    assert catalog.load_table(TABLE).metadata_location == before


def test_a_recut_replaces_rows_and_the_state_before_is_found_by_its_name(
    store: LocalStore, catalog
) -> None:
    first = _current(store)
    publish_snapshot(store, first, catalog, TABLE)
    recut(store, {"min_combined": 5.0})
    commit_shards(store, [publish(store, "run", 1)], describe_run("run"))
    second = _current(store)
    assert publish_snapshot(store, second, catalog, TABLE).num_parts_removed == 1
    table = catalog.load_table(TABLE)
    assert len(table.snapshots()) == 2
    rows = table.scan().to_arrow()
    assert rows.num_rows == 10 and len({*rows["pair_id"].to_pylist()}) == 10
    old = table.snapshot_by_name(first.snapshot_id)
    then = table.scan(row_filter="kept = true", snapshot_id=old.snapshot_id).to_arrow()
    assert then.num_rows == 2
    publish_snapshot(store, first, catalog, TABLE)  # as after a rollback
    assert catalog.load_table(TABLE).scan().to_arrow().num_rows == 5


def test_expiring_the_table_does_not_own_the_datasets_files(store: LocalStore, catalog) -> None:
    publish_snapshot(store, _current(store), catalog, TABLE)
    assert catalog.load_table(TABLE).properties["gc.enabled"] == "false"


def test_a_table_of_a_version_with_fewer_columns_grows(store: LocalStore, catalog) -> None:
    catalog.create_namespace("images")
    catalog.create_table(TABLE, MANIFEST_SCHEMA.remove(MANIFEST_SCHEMA.get_field_index("rim_seam")))
    publish_snapshot(store, _current(store), catalog, TABLE)
    assert catalog.load_table(TABLE).scan().to_arrow()["rim_seam"].null_count == 2


def test_a_part_that_iceberg_refuses_is_an_error_that_says_why(store: LocalStore, catalog) -> None:
    path = store.root / _current(store).parts_of("manifest")[0].key
    table = pq.read_table(path)
    pq.write_table(table.append_column("unknown", table["pair_id"]), path)
    with pytest.raises(DatasetError, match="Iceberg refuses parts of snapshot"):
        publish_snapshot(store, _current(store), catalog, TABLE)


def test_a_name_without_a_namespace_is_refused(store: LocalStore, catalog) -> None:
    with pytest.raises(ConfigError, match=r"NAMESPACE\.TABLE"):
        publish_snapshot(store, _current(store), catalog, "pairs")


def test_the_command_finds_its_catalog_in_the_environment(
    store: LocalStore, tmp_path: Path
) -> None:
    variables = {  # PyIceberg reads them once, as it is imported
        **os.environ,
        "PYICEBERG_CATALOG__LAKE__URI": f"sqlite:///{tmp_path}/catalog.db",
        "PYICEBERG_CATALOG__LAKE__WAREHOUSE": f"file://{tmp_path}/warehouse",
    }
    words = ("publish", "iceberg", "--dataset", store.uri, "--table", TABLE)
    command = [sys.executable, "-m", "flows.cli.main", *words, "--catalog", "lake"]
    said = [subprocess.check_output(command, env=variables, text=True) for _ in range(2)]
    assert "5 rows: 1 parts added, 0 removed" in said[0]
    assert "nothing to do" in said[1]
    code, _, errors = run(*words, "--catalog", "sea")
    assert code == 2 and "PYICEBERG_CATALOG__SEA__URI" in errors
