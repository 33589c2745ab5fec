"""SQL sees the rows of one snapshot, from a folder or S3, and nothing else."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.query import open_query
from coupled_core.dataset.reader import find_snapshot
from coupled_core.errors import ConfigError, CoupledError, DatasetError, NotFoundError
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.s3_servers import S3Server
from tests.sample_shards import describe_run, publish

COUNTS = "select kept, count(*) as n from manifest group by kept order by kept"


def _fill(store: ObjectStore, num_shards: int = 2) -> ObjectStore:
    for index in range(num_shards):
        commit_shards(store, [publish(store, "run", index)], describe_run("run"))
    return store


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return _fill(open_store(tmp_path / "pairs"))


def _ask(store: ObjectStore, sql: str, snapshot: str = "current") -> list[dict[str, Any]]:
    with open_query(store, find_snapshot(store, snapshot), sql) as result:
        return list(result.batches().read_all().to_pylist())


def test_a_query_counts_the_rows_of_the_snapshot_that_was_asked_for(store: ObjectStore) -> None:
    assert _ask(store, COUNTS) == [{"kept": False, "n": 6}, {"kept": True, "n": 4}]
    assert _ask(store, COUNTS, "parent") == [{"kept": False, "n": 3}, {"kept": True, "n": 2}]


def test_the_manifest_joins_with_itself(store: ObjectStore) -> None:
    joined = "select count(*) as n from manifest a join manifest b using (pair_id) where a.kept"
    assert _ask(store, joined) == [{"n": 4}]


def test_a_dataset_on_s3_is_read_by_the_store(
    moto_server: S3Server, new_bucket: Callable[..., str]
) -> None:
    assert _ask(_fill(open_store(new_bucket(moto_server))), COUNTS)[1] == {"kept": True, "n": 4}


def test_more_parts_than_files_may_be_open_are_read(store: ObjectStore) -> None:
    resource = pytest.importorskip("resource")
    _fill(store, num_shards=24)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_open + 22, before[1]))
    try:
        assert _ask(store, COUNTS)[1]["n"] == 48
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{secret}')",
        "select * from read_parquet('{parts}')",
        "select * from '{secret}'",
        "select * from glob('{parts}')",
        "select * from read_csv('https://example.com/a.csv')",
        "select * from query('from read_text(''{secret}'')')",
        "copy manifest to '{secret}'",
        "attach '{secret}'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "create table other as select 1",
        "export database '{secret}'",
        "select 1; select 2",
        "pragma database_list",
        "",
        "select * from store",
    ],
)
def test_sql_reaches_no_file_and_changes_nothing(
    store: ObjectStore, sql: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    with pytest.raises(ConfigError):
        _ask(store, sql.format(secret=secret, parts=tmp_path / "pairs" / "manifest" / "*"))
    assert secret.read_text() == "secret\n"


def test_a_wrong_column_is_answered_with_those_that_exist(store: ObjectStore) -> None:
    with pytest.raises(
        ConfigError, match=r'"foo" not found(.|\n)*columns of manifest are: pair_id, .*rim_seam'
    ):
        _ask(store, "select foo from manifest")


@pytest.mark.parametrize("sql", ["select regexp_matches(status, '(') from manifest", "selec 1"])
def test_wrong_sql_does_not_pass_for_damage(store: ObjectStore, sql: str) -> None:
    with pytest.raises(ConfigError):
        _ask(store, sql)


def test_damaged_and_missing_parts_are_named(store: ObjectStore, tmp_path: Path) -> None:
    path = min((tmp_path / "pairs" / "manifest").iterdir())
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"checksum verification failed.*coupled verify"):
        _ask(store, "select * from manifest")
    path.unlink()
    with pytest.raises(NotFoundError, match=path.name):
        _ask(store, "select * from manifest")


def test_without_duckdb_the_error_says_what_to_install(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(CoupledError, match=r"coupled-images\[query\]"):
        _ask(store, "select 1")
