"""Many small manifest parts become a few: the same rows, in the same order, in fewer files.

A shard writes a part of its own, and one of sixteen groups has few rows; so whoever reads all rows
of a large dataset opens thousands of files. Rows are copied as they are. Images stay where they
are, since rows say where that is.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import pyarrow as pa

from coupled_core.dataset.columns import MANIFEST_SCHEMA, check_rewritable
from coupled_core.dataset.commit.extend_index import extend_index
from coupled_core.dataset.commit.publish import publish_rebased
from coupled_core.dataset.commit.upload import settle_name, upload_part
from coupled_core.dataset.parts import PartInfo, temporary_folder, write_manifest_table
from coupled_core.dataset.reader import read_whole_part
from coupled_core.dataset.row_index import PartRows, open_index
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore

MAX_ROWS = 4096
"""Rows of a merged part by default: what changes rows holds a part as plain values, 13 KB a row."""
_THREADS = 8
"""That read parts: most of the time is the store's."""

_Group = tuple[PartInfo, ...]
"""Parts that become one, in the order of their keys."""


@dataclass(frozen=True)
class CompactReport:
    """What a compaction did."""

    snapshot: Snapshot | None
    """None: there was nothing to merge."""
    num_merged: int
    """Parts that others took the place of."""
    num_written: int
    """Those others."""


def compact(
    store: ObjectStore, *, max_rows: int = MAX_ROWS, single_writer: bool = False
) -> CompactReport:
    """Merge small manifest parts, and commit the result on top of what is current.

    Rows, their ids and what was decided about them stay as they are, and so do images; rows of a
    run keep their order. A build may go on beside it: shards that it commits meanwhile are taken in
    by the next compaction at the latest. Earlier snapshots name the small parts, which stay while
    those do.

    Args:
        store: Where the dataset is.
        max_rows: Most rows of a merged part, at least 2. Parts of more than half as many rows stay.
        single_writer: Nothing else writes here.

    Raises:
        DatasetError: there is no dataset, a newer version wrote it, a part is missing or damaged,
            the store ignores conditions, or other writers won every attempt.
    """
    if max_rows < 2:
        raise ValueError(f"expected max_rows of at least 2, got {max_rows}")
    compaction = _Compaction(store, max_rows)
    what = f"compact {store.uri}"
    snapshot = publish_rebased(store, compaction.follow, what, single_writer=single_writer)
    groups = compaction.used if snapshot else {}
    return CompactReport(snapshot, sum(map(len, groups)), len(groups))


def choose_groups(parts: Iterable[PartInfo], max_rows: int) -> list[_Group]:
    """Return the parts that shall become one, in the order of their keys.

    A group has parts of one run, since a run's thresholds hold for whole parts, and no part that
    stays stands between them, or rows would change their order.
    """
    manifest = (part for part in parts if part.kind == "manifest")
    by_run = sorted(manifest, key=attrgetter("run_id", "key"))
    groups: list[_Group] = []
    for _, of_run in groupby(by_run, key=attrgetter("run_id")):
        groups += _fill(of_run, max_rows)
    return [group for group in groups if len(group) > 1]


def _fill(parts: Iterable[PartInfo], max_rows: int) -> Iterator[_Group]:
    group: list[PartInfo] = []
    num_rows = 0
    for part in parts:
        stays = 2 * part.num_rows > max_rows
        if stays or num_rows + part.num_rows > max_rows:
            yield tuple(group)
            group, num_rows = [], 0
        if not stays:
            group.append(part)
            num_rows += part.num_rows
    yield tuple(group)


class _Compaction:
    """Merges parts once, however often the snapshot that is followed changes."""

    def __init__(self, store: ObjectStore, max_rows: int) -> None:
        self._store, self._max_rows = store, max_rows
        self._rows = PartRows(store)
        self._done: dict[_Group, PartInfo] = {}
        self.used: dict[_Group, PartInfo] = {}
        """Those that the last snapshot has."""

    def follow(self, base: Snapshot | None) -> Snapshot | None:
        """Return the snapshot with merged parts; None: it would be the same."""
        if base is None:
            raise DatasetError(
                f"{self._store.uri} holds no dataset: build one with `coupled build`"
            )
        check_rewritable(base.schema_version, f"snapshot {base.snapshot_id}")
        self._choose(base)
        if not self.used:
            return None
        replaced = {part.key for group in self.used for part in group}
        others = (part for part in base.parts if part.key not in replaced)
        parts = (*others, *self.used.values())
        with open_index(self._store, base, self._rows) as index:
            return Snapshot.create(
                parent=base.snapshot_id,
                runs=base.runs,
                parts=parts,
                index=extend_index(self._store, index, self._rows, parts),
                action="compact",
                details={"max_rows": self._max_rows},
            )

    def _choose(self, base: Snapshot) -> None:
        there = set(base.parts)
        # What was merged for a lost attempt counts where a rival left those parts alone. Chosen
        # anew, groups would shift with each shard that a build adds, and nothing would ever fit.
        self.used = {group: part for group, part in self._done.items() if there.issuperset(group)}
        left = there.difference(*self.used)
        groups = choose_groups(left, self._max_rows)
        progress = current_progress()
        progress.begin("compact", sum(map(len, groups)))
        for group in groups:
            self._done[group] = self.used[group] = self._merge(group, base)
            progress.advance("compact", len(group))

    def _merge(self, group: _Group, base: Snapshot) -> PartInfo:
        first = group[0]
        # Not by way of plain values, which take twice the time and more memory.
        rows = pa.Table.from_batches(_read(self._store, group)).cast(MANIFEST_SCHEMA)
        with temporary_folder() as folder:
            file = write_manifest_table(rows, folder, first.shard_index)
            expected = sum(part.num_rows for part in group)
            assert file.num_rows == expected, f"{file.num_rows} of {expected} rows were written"
            settled = settle_name(self._store, file, frozenset(part.key for part in base.parts))
            return upload_part(self._store, settled, first.run_id)


def _read(store: ObjectStore, parts: Sequence[PartInfo]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of parts, each of which is compared with its SHA-256."""
    names = MANIFEST_SCHEMA.names
    with ThreadPoolExecutor(_THREADS) as pool:
        for batches in pool.map(lambda part: read_whole_part(store, part, names), parts):
            yield from batches
