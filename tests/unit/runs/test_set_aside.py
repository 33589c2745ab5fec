"""Shards that fail again and again are left alone in the end, by name."""

from pathlib import Path

from coupled_core.dataset.work import WorkFolder
from coupled_core.runs.set_aside import find_set_aside, note_failure
from coupled_core.storage.open_store import open_store


def test_a_shard_is_set_aside_after_so_many_failures_and_says_the_last(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in (1, 2):
        assert note_failure(store, "run", 17, f"RuntimeError: {number}") == number
    assert find_set_aside(store, "run", 3) == {}
    note_failure(store, "run", 17, "RuntimeError: 3")
    note_failure(store, "run", 4, "RuntimeError: once")
    note_failure(store, "other", 5, "RuntimeError: of another run")
    [(index, why)] = find_set_aside(store, "run", 3).items()
    assert index == 17
    assert "after 3 failures, the last of them: RuntimeError: 3" in why
    assert "work/run/00017/failures.json" in why


def test_what_the_text_says_to_delete_has_it_tried_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    note_failure(store, "run", 17, "RuntimeError")
    store.delete(WorkFolder(store, "run", 17).prefix + "failures.json")
    assert find_set_aside(store, "run", 1) == {}
