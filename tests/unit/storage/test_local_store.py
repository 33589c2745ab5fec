"""A local folder keeps the promises that commits rest on."""

import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coupled_core.config import Retention
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc
from coupled_core.errors import ConfigError, ConflictError, NotFoundError, StorageError
from coupled_core.storage.checksum import sha256_of
from coupled_core.storage.local import LocalStore
from coupled_core.storage.open_store import open_store, open_uri
from coupled_core.storage.probe import probe_conditional_writes
from tests.sample_shards import describe_run, publish


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

    this_thread = threading.get_ident()  # threads that other tests left may write elsewhere

    def record_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if threading.get_ident() == this_thread:
            calls.append(("sync folder" if path.is_dir() else "sync file", path.name))
        fsync(descriptor)

    def record(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def recorded(source: object, target: object) -> None:
            if threading.get_ident() == this_thread:
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
    this_thread = threading.get_ident()  # threads that other tests left may write elsewhere
    fsync = os.fsync

    def record(descriptor: int) -> None:
        if threading.get_ident() == this_thread:
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


EVERY_ACCESS: dict[str, Callable[[LocalStore, str], Any]] = {
    "read": lambda store, key: store.read(key),
    "read_with_etag": lambda store, key: store.read_with_etag(key),
    "stat": lambda store, key: store.stat(key),
    "exists": lambda store, key: store.exists(key),
    "open_input": lambda store, key: store.open_input(key),
    "local_copy": lambda store, key: store.local_copy(key).__enter__(),
    "write": lambda store, key: store.write(key, b"x"),
    "write_if_absent": lambda store, key: store.write_if_absent(key, b"x"),
    "write_if_match": lambda store, key: store.write_if_match(key, b"x", "0" * 64),
    "upload_file": lambda store, key: store.upload_file(key, Path(__file__)),
    "delete": lambda store, key: store.delete(key),
    "delete_unfinished": lambda store, key: store.delete_unfinished(key),
    "list": lambda store, key: list(store.list(f"{key}/")),
}


@pytest.fixture
def precious(store: LocalStore, tmp_path: Path) -> Iterator[Path]:
    """A folder that a link in the store points to; it must come out as it was."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis").write_bytes(b"years of work")
    (folder / ".writing-draft").write_bytes(b"more of it")
    store.write("images/part", b"1")
    (store.root / "images" / "mylink").symlink_to(folder)
    (store.root / "images" / "mine").symlink_to(folder / "thesis")
    yield folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "thesis": b"years of work",
        ".writing-draft": b"more of it",
    }
    assert (store.root / "images" / "mylink").is_symlink()
    assert (store.root / "images" / "mine").is_symlink()


@pytest.mark.parametrize("access", EVERY_ACCESS)
@pytest.mark.parametrize("key", ["images/mylink/thesis", "images/mylink/new", "images/mine"])
def test_no_access_goes_through_a_link_in_the_store(
    store: LocalStore, precious: Path, access: str, key: str
) -> None:
    with pytest.raises(StorageError, match=r"images/(mylink|mine) is a symbolic link"):
        EVERY_ACCESS[access](store, key)


def test_listings_pass_over_links_and_say_so(
    store: LocalStore, precious: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert [info.key for info in store.list("")] == ["images/part"]
        assert list(store.list_unfinished()) == []
    assert f"{store.root}/images/mylink is a symbolic link and passed over" in caplog.text


def test_a_collection_of_garbage_leaves_what_links_point_to(
    store: LocalStore, precious: Path
) -> None:
    commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    lost = publish(store, "lost", 1)
    plan = plan_gc(store, Retention(), datetime.now(UTC) + timedelta(days=3))
    assert {part.key for part in lost.parts} <= {removal.key for removal in plan.removals}
    assert not any("mylink" in r.key or r.key.endswith("mine") for r in plan.removals)
    collect_garbage(store, plan)


def test_a_lock_that_is_a_link_is_refused_and_not_created_elsewhere(
    store: LocalStore, tmp_path: Path
) -> None:
    store.root.mkdir()
    (store.root / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"\.lock is a symbolic link"):
        store.write("key", b"1")
    assert not (tmp_path / "elsewhere").exists()


def test_the_root_itself_may_be_a_link(store: LocalStore, tmp_path: Path) -> None:
    store.write("images/part", b"1")
    (tmp_path / "shortcut").symlink_to(store.root)
    linked = LocalStore(tmp_path / "shortcut")
    linked.write("images/other", b"2")
    linked.delete("images/part")
    assert [info.key for info in linked.list("")] == ["images/other"]
    assert store.read("images/other") == b"2"


@pytest.mark.parametrize("access", EVERY_ACCESS)
def test_links_in_a_circle_are_named(store: LocalStore, access: str) -> None:
    store.write("a/b", b"1")
    (store.root / "a" / "round").symlink_to(store.root / "a" / "round")
    (store.root / "a" / "up").symlink_to(store.root)
    assert [info.key for info in store.list("")] == ["a/b"]
    for key in ("a/round", "a/up/a/b"):
        with pytest.raises(StorageError, match="is a symbolic link"):
            EVERY_ACCESS[access](store, key)


@pytest.mark.parametrize("access", EVERY_ACCESS)
@pytest.mark.parametrize("key", ["n" * 300, "\0", "a\0b", "\ud800", "/".join(["n" * 200] * 30)])
def test_impossible_names_are_errors_of_ours(store: LocalStore, access: str, key: str) -> None:
    store.root.mkdir()
    with pytest.raises(StorageError):
        EVERY_ACCESS[access](store, key)


@pytest.mark.parametrize("access", EVERY_ACCESS)
def test_a_pipe_keeps_nobody_waiting(store: LocalStore, access: str) -> None:
    store.root.mkdir()
    os.mkfifo(store.root / "pipe")
    assert list(store.list("")) == []
    with pytest.raises(StorageError, match="pipe is neither a file nor a folder"):
        EVERY_ACCESS[access](store, "pipe")


@pytest.mark.parametrize("access", [name for name in EVERY_ACCESS if name != "list"])
def test_a_file_in_the_way_of_a_folder_is_an_error_of_ours_or_no_object(
    store: LocalStore, access: str
) -> None:
    store.write("taken", b"")
    if access in ("exists", "delete"):
        assert not EVERY_ACCESS[access](store, "taken/key")
        return
    with pytest.raises(StorageError, match=r"taken/key: .*(folder is expected|it does not exist)"):
        EVERY_ACCESS[access](store, "taken/key")


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Give up the rights of root for a while, to whom nothing is closed."""
    if os.geteuid() != 0:
        yield
        return
    for each in (folder, *folder.parents):
        each.chmod(each.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("access", EVERY_ACCESS)
@pytest.mark.parametrize("closed", ["data", "data/a"])
def test_what_permissions_forbid_is_named(
    store: LocalStore, tmp_path: Path, access: str, closed: str
) -> None:
    store.write("a/b", b"1")
    (tmp_path / closed).chmod(0)
    key = "a" if access == "list" else "a/b"
    with unprivileged(tmp_path), pytest.raises(StorageError, match="Permission denied; check its"):
        EVERY_ACCESS[access](store, key)
    with unprivileged(tmp_path), pytest.raises(StorageError, match="Permission denied; check its"):
        list(store.list(""))
    (tmp_path / closed).chmod(0o700)


def test_folders_nested_as_deep_as_a_path_can_be_are_listed(store: LocalStore) -> None:
    depth = (4000 - len(store.uri)) // 2
    key = "/".join("d" * depth)
    store.write(key, b"1")
    assert [info.key for info in store.list("")] == [key]
    store.delete(key)
    (store.root / ".lock").unlink()
    os.removedirs((store.root / key).parent)  # pytest's own removal gives up at such a depth


def test_a_root_that_no_file_system_can_hold_is_a_wrong_setting(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for uri in ("a\0b", "\ud800", f"{tmp_path}/round/x"):
        with pytest.raises(ConfigError, match="is not the path"):
            open_uri(uri)
    for uri in ("a\0b", "\ud800"):
        with pytest.raises(ConfigError, match="is not the path"):
            open_store(uri)
