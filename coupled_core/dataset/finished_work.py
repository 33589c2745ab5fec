"""Which work below `work/` is done with: its pairs are in the dataset."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.dataset.parts import PublishedShard
from coupled_core.dataset.reader import committed_pair_ids, part_pair_ids
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import DatasetError
from coupled_core.storage.store import ObjectInfo, ObjectStore

_SHARD = re.compile(r"work/(?P<run>[^/]+)/(?P<shard>\d{5})/")
_PROBE = "work/probe-"


@dataclass(frozen=True)
class WorkState:
    """Everything below `work/`, each shard's objects together, the marker `done.json` last."""

    finished: tuple[tuple[ObjectInfo, ...], ...]
    """Of shards whose pairs are all in the dataset."""
    unfinished: tuple[tuple[ObjectInfo, ...], ...]
    """Of all others."""
    probes: tuple[ObjectInfo, ...]
    """Left by writers that died while they tried the store out."""
    named_parts: frozenset[str]
    """Parts that wait for a commit."""


def survey_work(store: ObjectStore, current: Snapshot) -> WorkState:
    """Look at all work and tell which of it the current snapshot has made superfluous.

    Raises:
        StorageError: a marker is damaged, so that nobody knows which parts it names.
    """
    shards, probes = _list_work(store)
    judge = _Judge(store, current)
    finished, unfinished = [], []
    named: set[str] = set()
    for (run_id, shard_index), objects in shards.items():
        done = WorkFolder(store, run_id, int(shard_index)).read_done()
        published = None if done is None else PublishedShard.model_validate(done)
        if published is not None and judge.is_committed(published):
            finished.append(objects)
            continue
        unfinished.append(objects)
        if published is not None:
            named.update(part.key for part in published.parts)
    return WorkState(tuple(finished), tuple(unfinished), probes, frozenset(named))


def _list_work(
    store: ObjectStore,
) -> tuple[dict[tuple[str, str], tuple[ObjectInfo, ...]], tuple[ObjectInfo, ...]]:
    shards: dict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
    probes = []
    for info in store.list("work/"):
        if match := _SHARD.match(info.key):
            shards[match["run"], match["shard"]].append(info)
        elif info.key.startswith(_PROBE):
            probes.append(info)
    ordered = {name: tuple(sorted(found, key=_is_marker)) for name, found in shards.items()}
    return ordered, tuple(probes)


def _is_marker(info: ObjectInfo) -> bool:
    return info.key.endswith("/done.json")


class _Judge:
    """Says whether the pairs of a finished shard are in the dataset."""

    def __init__(self, store: ObjectStore, current: Snapshot) -> None:
        self._store, self._current = store, current
        self._keys = {part.key for part in current.parts}
        self._committed: PairIdSet | None = None

    def is_committed(self, shard: PublishedShard) -> bool:
        """Compare parts first; ids only where a commit or a re-cut wrote the parts anew."""
        if all(part.key in self._keys for part in shard.parts):
            return True
        try:
            ids = list(self._pair_ids(shard))
        except DatasetError:  # its parts are gone: whoever goes on with the shard finds out
            return False
        if self._committed is None:
            self._committed = committed_pair_ids(self._store, self._current)
        return bool(self._committed.contains(ids).all())

    def _pair_ids(self, shard: PublishedShard) -> Iterator[str]:
        for part in shard.parts:
            if part.kind == "manifest":
                yield from part_pair_ids(self._store, part)
