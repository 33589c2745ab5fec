"""Shards that fail again and again: counted where they work, and in the end left alone."""

from collections.abc import Mapping

from coupled_core.dataset.work import WorkFolder, list_work
from coupled_core.storage.store import ObjectStore

_NAME = "failures.json"


def note_failure(store: ObjectStore, run_id: str, shard_index: int, message: str) -> int:
    """Count one more failure of a shard; return how many there are."""
    folder = WorkFolder(store, run_id, shard_index)
    # Without a condition: of two counts at one moment one may be lost, which is one more try.
    count = int((folder.read_json(_NAME) or {"count": 0})["count"]) + 1
    folder.write_json(_NAME, {"count": count, "message": message})
    return count


def find_set_aside(store: ObjectStore, run_id: str, max_failures: int) -> Mapping[int, str]:
    """Return the shards that have failed too often, and how to have them tried again."""
    found = {}
    for each in list_work(store, run_id):
        if each.name == _NAME:
            folder = WorkFolder(store, run_id, each.shard_index)
            noted = folder.read_json(_NAME)
            if noted is not None and noted["count"] >= max_failures:
                found[each.shard_index] = (
                    f"set aside after {noted['count']} failures, the last of them: "
                    f"{noted['message']}; delete {store.uri}/{folder.prefix}{_NAME}, or raise "
                    "max_shard_failures, to have it tried again"
                )
    return found
