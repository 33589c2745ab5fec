"""What we assume of S3, checked against three real server processes on loopback."""

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.row_index import committed_pair_ids
from coupled_core.dataset.work import WorkFolder, list_work
from coupled_core.errors import (
    ConfigError,
    ConflictError,
    DatasetError,
    NotFoundError,
    StorageError,
)
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.open_store import open_store, open_uri
from coupled_core.storage.probe import probe_conditional_writes, probe_round_trip
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import describe_run, publish


@pytest.fixture(params=["moto_server", "rclone_server", "seaweed_server"])
def store(request: pytest.FixtureRequest, new_bucket: Callable[[Any], str]) -> ObjectStore:
    return open_store(new_bucket(request.getfixturevalue(request.param)))


@pytest.fixture(params=["moto_server", "seaweed_server"])
def conditional_store(
    request: pytest.FixtureRequest, new_bucket: Callable[[Any], str]
) -> ObjectStore:
    return open_store(new_bucket(request.getfixturevalue(request.param)))


@pytest.fixture
def moto_store(moto_server: Any, new_bucket: Callable[[Any], str]) -> ObjectStore:
    return open_store(new_bucket(moto_server))


@pytest.fixture
def rclone_store(rclone_server: Any, new_bucket: Callable[[Any], str]) -> ObjectStore:
    return open_store(new_bucket(rclone_server))


def test_objects_make_the_round_trip(store: ObjectStore) -> None:
    etag = store.write("a/b.txt", b"hello")
    assert store.read_with_etag("a/b.txt") == (b"hello", etag)
    assert store.stat("a/b.txt").size_bytes == 5
    store.write("a/c.txt", b"")
    assert [info.key for info in store.list("a/")] == ["a/b.txt", "a/c.txt"]
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt")
    with pytest.raises(NotFoundError, match=r"datasets/pairs/a/b\.txt: it does not exist"):
        store.read("a/b.txt")


def test_a_large_file_goes_up_in_parts_and_comes_back_in_ranges(
    store: ObjectStore, tmp_path: Path
) -> None:
    data = os.urandom(1 << 20) * 20
    (tmp_path / "large").write_bytes(data)
    assert store.upload_file("large", tmp_path / "large").size_bytes == len(data)
    with store.open_input("large") as file:
        file.seek(7_000_000)
        assert file.read(2_000_000) == data[7_000_000:9_000_000]
        file.seek(-5, io.SEEK_END)
        assert file.read() == data[-5:]
    assert len(sha256_of(store, "large")) == 64


def test_pyarrow_reads_one_column_through_ranges(store: ObjectStore) -> None:
    buffer = io.BytesIO()
    table = pa.table({"a": list(range(1000)), "b": ["x" * 100] * 1000})
    pq.write_table(table, buffer)
    store.write("table.parquet", buffer.getvalue())
    with store.open_input("table.parquet") as file:
        assert pq.read_table(file, columns=["a"]).equals(table.select(["a"]))


def test_a_uri_opens_an_object_or_a_folder(store: ObjectStore) -> None:
    store.write("sets/a.parquet", b"1")
    found, key = open_uri(f"{store.uri}/sets/a.parquet")
    assert (key, found.read(key)) == ("a.parquet", b"1")
    found, key = open_uri(f"{store.uri}/sets")
    assert (key, [info.key for info in found.list("")]) == ("", ["a.parquet"])
    bucket = store.uri.removesuffix("/datasets/pairs")
    found, key = open_uri(bucket)
    assert (key, next(found.list("")).key) == ("", "datasets/pairs/sets/a.parquet")
    with pytest.raises(NotFoundError):
        open_uri(f"{store.uri}/none")


def test_a_work_folder_lives_on_s3(store: ObjectStore) -> None:
    work = WorkFolder(store, "run", 3)
    work.write_json("split.json", {"a": 1})
    work.write_table("generated", 12, pa.table({"x": [1]}))
    assert work.read_json("split.json") == {"a": 1}
    assert work.batches("generated") == [12]
    assert set(list_work(store, "run")) == {(3, "generated/batch-00012.parquet"), (3, "split.json")}


def test_conditions_are_honoured(conditional_store: ObjectStore) -> None:
    store = conditional_store
    etag = store.write_if_absent("key", b"1")
    with pytest.raises(ConflictError):
        store.write_if_absent("key", b"2")
    fresh = store.write_if_match("key", b"22", etag)
    with pytest.raises(ConflictError):
        store.write_if_match("key", b"333", etag)
    store.delete("key")
    with pytest.raises(ConflictError):
        store.write_if_match("key", b"333", fresh)


def test_of_racing_creators_one_wins(conditional_store: ObjectStore) -> None:
    def create(name: int) -> bool:
        try:
            conditional_store.write_if_absent("key", b"%d" % name)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    assert conditional_store.read("key") == b"%d" % won.index(True)


def test_the_probe_passes_servers_with_conditions_and_cleans_up(
    conditional_store: ObjectStore,
) -> None:
    probe_round_trip(conditional_store)
    assert probe_conditional_writes(conditional_store)
    assert list(conditional_store.list("")) == []
    assert list(conditional_store.list_unfinished()) == []


def test_the_probe_knows_a_server_without_conditions_and_cleans_up(
    rclone_store: ObjectStore,
) -> None:
    probe_round_trip(rclone_store)
    assert not probe_conditional_writes(rclone_store)
    assert list(rclone_store.list("")) == []


def test_a_store_without_conditions_needs_a_declared_single_writer(
    rclone_store: ObjectStore,
) -> None:
    shard = publish(rclone_store, "run", 0)
    with pytest.raises(DatasetError, match="single_writer"):
        ensure_conditional_writes(rclone_store, single_writer=False)
    with pytest.raises(DatasetError, match="single_writer"):
        commit_shards(rclone_store, [shard], describe_run("run"))
    assert current_snapshot(rclone_store) is None
    assert commit_shards(rclone_store, [shard], describe_run("run"), single_writer=True)
    shard = publish(rclone_store, "run", 1)
    assert commit_shards(rclone_store, [shard], describe_run("run"), single_writer=True)
    assert len(committed_pair_ids(rclone_store, current_snapshot(rclone_store))) == 10


def test_a_dataset_on_s3_survives_racing_writers_and_a_twin(conditional_store: ObjectStore) -> None:
    store = conditional_store
    shards = [publish(store, run, index) for index, run in enumerate(("a", "b", "c"))]
    shards.append(shards[0])
    with ThreadPoolExecutor(4) as pool:
        commits = [
            pool.submit(commit_shards, open_store(store.uri), [s], describe_run(s.run_id))
            for s in shards
        ]
    assert [commit.result() is None for commit in commits].count(True) == 1
    snapshot = current_snapshot(store)
    assert snapshot is not None
    assert sorted(snapshot.run_ids) == ["a", "b", "c"]
    assert len(committed_pair_ids(store, snapshot)) == 15
    assert snapshot.funnel == sum((shard.funnel for shard in shards[:3]), Funnel())


def test_errors_name_the_place_and_never_the_secret(
    moto_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"NoSuchBucket.*create the bucket") as caught:
        open_store("s3://no-such-bucket-here/x").read("key")
    assert not isinstance(caught.value, NotFoundError)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        StorageError, match=r"cannot read s3://bucket/x/key.*AWS_ENDPOINT_URL"
    ) as caught:
        open_store("s3://bucket/x").read("key")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_missing_credentials_are_explained(
    moto_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match="NoCredentialsError"):
        open_store("s3://bucket/x").read("key")


def test_a_location_without_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigError, match="s3://BUCKET"):
        open_store("s3:///prefix")
