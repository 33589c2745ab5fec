"""The pointer moves only from the state that was read, and every state of it is a new one."""

import json
from pathlib import Path

import pytest

from coupled_core.dataset.pointer import move_pointer, read_pointer
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_a_move_names_where_it_came_from(store: LocalStore) -> None:
    assert move_pointer(store, None, "a", action="build")
    assert move_pointer(store, read_pointer(store), "b", action="build")
    found = read_pointer(store)
    assert found is not None
    assert (found.snapshot_id, found.previous) == ("b", "a")


def test_a_pointer_that_was_moved_away_and_back_is_not_the_one_that_was_read(
    store: LocalStore,
) -> None:
    move_pointer(store, None, "a", action="build")
    seen = read_pointer(store)
    move_pointer(store, seen, "b", action="build")
    move_pointer(store, read_pointer(store), "a", action="rollback")
    assert not move_pointer(store, seen, "c", action="build")
    assert json.loads(store.read("current.json"))["snapshot_id"] == "a"


def test_marks_of_snapshots_that_are_being_removed_outlast_other_moves(store: LocalStore) -> None:
    move_pointer(store, None, "a", action="build")
    move_pointer(store, read_pointer(store), "a", action="gc", removing=("old",))
    move_pointer(store, read_pointer(store), "b", action="build")
    found = read_pointer(store)
    assert found is not None
    assert (found.removing, found.previous) == (("old",), "a")


def test_marks_over_the_same_snapshot_leave_the_way_back_as_it_was(store: LocalStore) -> None:
    move_pointer(store, None, "a", action="build")
    move_pointer(store, read_pointer(store), "b", action="build")
    move_pointer(store, read_pointer(store), "b", action="gc", removing=("old",))
    found = read_pointer(store)
    assert found is not None
    assert (found.snapshot_id, found.previous, found.removing) == ("b", "a", ("old",))


def test_a_pointer_of_the_first_version_is_read(store: LocalStore) -> None:
    store.write("current.json", b'{"snapshot_id": "a"}')
    found = read_pointer(store)
    assert found is not None
    assert (found.snapshot_id, found.previous, found.removing) == ("a", None, ())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"snapshot"', b'{"other": 1}'])
def test_a_damaged_pointer_is_named(store: LocalStore, data: bytes) -> None:
    store.write("current.json", data)
    with pytest.raises(DatasetError, match=r"current\.json is damaged"):
        read_pointer(store)
