"""A local folder keeps the promises that commits rest on."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from coupled_core.errors import ConfigError, ConflictError, NotFoundError, StorageError
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.local import LocalStore
from coupled_core.storage.probe import probe_conditional_writes
from coupled_core.storage.store import open_store, open_uri


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_what_is_written_is_read_with_its_etag(store: LocalStore) -> None:
    etag = store.write("a/b.txt", b"hello")
    assert store.read_with_etag("a/b.txt") == (b"hello", etag)
    assert etag == hashlib.sha256(b"hello").hexdigest() == sha256_of(store, "a/b.txt")
    info = store.stat("a/b.txt")
    assert (info.size_bytes, info.etag) == (5, etag)


def test_an_uploaded_file_is_an_object(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    assert store.upload_file("part", tmp_path / "source").size_bytes == 3_000_000
    with store.open_input("part") as file:
        file.seek(-2, 2)
        assert file.read() == b"xx"


def test_listing_goes_by_key_prefix_in_key_order_and_hides_our_own_files(store: LocalStore) -> None:
    for key in ("a/b", "a-b", "a/c/d", "b", "manifest/part-1"):
        store.write(key, b"1")
    (store.root / "a" / ".writing-left-by-a-crash").write_bytes(b"half")
    assert [info.key for info in store.list("")] == ["a-b", "a/b", "a/c/d", "b", "manifest/part-1"]
    assert [info.key for info in store.list("a")] == ["a-b", "a/b", "a/c/d"]
    assert [info.key for info in store.list("manifest/part-")] == ["manifest/part-1"]
    assert list(store.list("none/such")) == []


def test_an_object_is_created_once(store: LocalStore) -> None:
    store.write_if_absent("key", b"first")
    with pytest.raises(ConflictError, match="exists already"):
        store.write_if_absent("key", b"second")
    assert store.read("key") == b"first"


def test_a_replacement_needs_the_current_etag(store: LocalStore) -> None:
    first = store.write("key", b"first")
    second = store.write_if_match("key", b"second", first)
    with pytest.raises(ConflictError):
        store.write_if_match("key", b"third", first)
    store.delete("key")
    with pytest.raises(ConflictError):
        store.write_if_match("key", b"third", second)


def test_of_racing_threads_every_replacement_counts(store: LocalStore) -> None:
    store.write("count", b"0")

    def add_ten() -> None:
        for _ in range(10):
            while True:
                data, etag = store.read_with_etag("count")
                try:
                    store.write_if_match("count", b"%d" % (int(data) + 1), etag)
                    break
                except ConflictError:
                    continue

    threads = [threading.Thread(target=add_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("count") == b"40"


_ADD_TWENTY = """
import sys
from pathlib import Path
from coupled_core.errors import ConflictError
from coupled_core.storage.local import LocalStore
store, won = LocalStore(Path(sys.argv[1])), 0
while won < 20:
    data, etag = store.read_with_etag("count")
    try:
        store.write_if_match("count", b"%d" % (int(data) + 1), etag)
        won += 1
    except ConflictError:
        pass
"""


def test_of_racing_processes_every_replacement_counts(store: LocalStore) -> None:
    store.write("count", b"0")
    racers = [subprocess.Popen([sys.executable, "-c", _ADD_TWENTY, store.uri]) for _ in range(3)]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    assert store.read("count") == b"60"


def test_a_failed_write_leaves_the_old_object_and_no_litter(
    store: LocalStore, tmp_path: Path
) -> None:
    store.write("key", b"old")
    with pytest.raises(NotFoundError):
        store.upload_file("key", tmp_path / "no such file")
    assert store.read("key") == b"old"
    assert sorted(path.name for path in store.root.iterdir()) == [".lock", "key"]


Write = Callable[[LocalStore, Path], object]
"""Writes the object `folder/key`; the path is a file that may be uploaded."""


def _replace(store: LocalStore, _: Path) -> object:
    return store.write_if_match("folder/key", b"data", store.stat("folder/key").etag or "")


@pytest.mark.parametrize(
    ("write", "puts_in_place"),
    [
        (lambda store, _: store.write("folder/key", b"data"), "rename"),
        (lambda store, path: store.upload_file("folder/key", path), "rename"),
        (_replace, "rename"),
        (lambda store, _: store.write_if_absent("folder/new", b"data"), "link"),
    ],
)
def test_a_file_is_durable_before_it_has_its_name_and_the_name_is_durable_after(
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    puts_in_place: str,
) -> None:
    """Real calls, recorded in their order: a power cut may come between any two."""
    store.write("folder/key", b"before")
    (tmp_path / "source").write_bytes(b"data")
    calls: list[tuple[str, str]] = []

    def record_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(("sync folder" if path.is_dir() else "sync file", path.name))
        fsync(descriptor)

    def record(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def recorded(source: object, target: object) -> None:
            calls.append((name, Path(str(source)).name))
            call(source, target)

        return recorded

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", record_sync)
    for name in ("rename", "replace", "link"):
        shown = "rename" if name == "replace" else name
        monkeypatch.setattr(os, name, record(shown, getattr(os, name)))
    write(store, tmp_path / "source")
    staged = calls[0][1]
    assert staged.startswith(".writing-")
    assert calls == [("sync file", staged), (puts_in_place, staged), ("sync folder", "folder")]


def test_a_new_folder_is_durable_in_the_one_above_it(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    store.write("key", b"")
    monkeypatch.setattr(os, "fsync", record)
    store.write("a/b/key", b"")
    assert [name for name in synced if not name.startswith(".writing-")] == ["data", "a", "b"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b"])
def test_a_key_cannot_leave_the_store(store: LocalStore, key: str) -> None:
    with pytest.raises(StorageError, match="bad object key"):
        store.write(key, b"")


def test_a_missing_object_is_named(store: LocalStore) -> None:
    with pytest.raises(NotFoundError, match="data/nothing: it does not exist"):
        store.read("nothing")
    store.delete("nothing")


def test_a_file_where_a_folder_should_be_is_named(store: LocalStore) -> None:
    store.write("taken", b"")
    with pytest.raises(StorageError, match=r"cannot write .*taken/key"):
        store.write("taken/key", b"")


def test_a_folder_passes_the_probe_and_keeps_nothing_of_it(store: LocalStore) -> None:
    assert probe_conditional_writes(store)
    assert list(store.list("")) == []


def test_a_uri_opens_an_object_or_a_folder(store: LocalStore) -> None:
    store.write("sets/a.parquet", b"1")
    found, key = open_uri(f"{store.uri}/sets/a.parquet")
    assert (key, found.read(key)) == ("a.parquet", b"1")
    found, key = open_uri(f"{store.uri}/sets/")
    assert (key, [info.key for info in found.list("")]) == ("", ["a.parquet"])
    with pytest.raises(NotFoundError, match="none"):
        open_uri(f"{store.uri}/none")


def test_relative_uris_go_by_the_working_folder(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("sets/a.parquet", b"1")
    monkeypatch.chdir(store.root / "sets")
    for uri in (".", "../sets", "../sets/"):
        found, key = open_uri(uri)
        assert (key, [info.key for info in found.list("")]) == ("", ["a.parquet"])
    for uri in ("a.parquet", "./a.parquet", "../sets/a.parquet"):
        assert open_uri(uri)[1] == "a.parquet"


def test_a_scheme_that_we_do_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="gs://bucket"):
        open_store("gs://bucket/x")
