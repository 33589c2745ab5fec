"""The images of chosen pairs: from image parts, or from the work of their shard if it is left."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coupled_core.dataset.part_files import PART_ERRORS, open_part
from coupled_core.dataset.work import GENERATED, SCORED, WorkFolder
from coupled_core.errors import DatasetError, NotFoundError
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class PairImages:
    """The images and entity masks of a pair, encoded."""

    pair_id: str
    image_0: bytes
    image_1: bytes
    mask_0: bytes
    mask_1: bytes

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "PairImages":
        """Take a row of an image part."""
        names = ("image_0", "image_1", "mask_0", "mask_1")
        return cls(row["pair_id"], *(row[name]["bytes"] for name in names))


class ShardWorks:
    """Which shards have work left; one listing a run, made when it is first asked for."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._shards: dict[str, set[int]] = {}

    def has(self, run_id: str, shard_index: int) -> bool:
        """Say whether generated images of a shard are still there."""
        if run_id not in self._shards:
            keys = (info.key.split("/") for info in self._store.list(f"work/{run_id}/"))
            self._shards[run_id] = {int(key[2]) for key in keys if key[3:4] == [GENERATED]}
        return shard_index in self._shards[run_id]


def iter_pair_images(
    store: ObjectStore, rows: Sequence[Mapping[str, Any]], works: ShardWorks
) -> Iterator[PairImages]:
    """Yield the images of manifest rows that have any, a row group in memory at a time.

    Args:
        store: The dataset.
        rows: Manifest rows, all columns, in any order.
        works: The work that is left.
    """
    by_part: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    by_shard: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["image_part"] is not None:
            by_part[row["image_part"]].append(row)
        elif has_images(row, works):
            by_shard[row["run_id"], row["shard_index"]].append(row)
    for key, inside in by_part.items():
        yield from _from_part(store, key, inside)
    for (run_id, shard_index), inside in by_shard.items():
        yield from _from_work(WorkFolder(store, run_id, shard_index), inside)


def has_images(row: Mapping[str, Any], works: ShardWorks) -> bool:
    """Say whether a pair has images that a page may hold: stored ones, or in work that is left.

    Images that were found unsafe are in the work, too, but no page shows them.
    """
    if row["image_part"] is not None:
        return True
    may_be_shown = row["image_0_sha256"] and RejectReason.UNSAFE not in row["reject_reasons"]
    return bool(may_be_shown) and works.has(row["run_id"], row["shard_index"])


def _from_part(
    store: ObjectStore, key: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[PairImages]:
    wanted = {int(row["image_row"]): row["pair_id"] for row in rows}
    try:
        with store.open_input(key) as source, open_part(source) as file:
            first = 0
            for group in range(file.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                places = sorted(row - first for row in wanted if first <= row < first + num_rows)
                if places:
                    yield from _from_row_group(file, group, places)
                first += num_rows
    except NotFoundError as error:
        raise DatasetError(f"part {store.uri}/{key} is missing: restore it") from error
    except PART_ERRORS as error:
        raise DatasetError(f"part {store.uri}/{key} is damaged: {error}") from error


def _from_row_group(file: Any, group: int, places: Sequence[int]) -> Iterator[PairImages]:
    first = 0
    for batch in file.iter_batches(8, row_groups=[group], use_threads=False):
        inside = [place - first for place in places if first <= place < first + batch.num_rows]
        if inside:
            yield from map(PairImages.from_row, batch.take(inside).to_pylist())
        first += batch.num_rows


def _from_work(folder: WorkFolder, rows: Sequence[Mapping[str, Any]]) -> Iterator[PairImages]:
    """Find pairs in the stored batches of their shard by the hashes of their images."""
    for batch in folder.batches(GENERATED):
        generated, scored = folder.read_table(GENERATED, batch), folder.read_table(SCORED, batch)
        if generated is None or scored is None:
            continue
        masks = {s["key"]: s["masks"] for s in scored.to_pylist() if s["masks"] is not None}
        for sample in generated.to_pylist():
            if sample["key"] in masks:
                yield from _match(sample["images"], masks[sample["key"]], rows)


def _match(
    images: Sequence[Mapping[str, Any]],
    masks: Sequence[Mapping[str, Any]],
    rows: Iterable[Mapping[str, Any]],
) -> Iterator[PairImages]:
    hashes = dict(enumerate(image["sha256"] for image in images))
    for row in rows:
        i, j = row["image_index_0"], row["image_index_1"]
        if (hashes.get(i), hashes.get(j)) == (row["image_0_sha256"], row["image_1_sha256"]):
            yield PairImages(
                row["pair_id"],
                images[i]["data"],
                images[j]["data"],
                masks[i]["mask"],
                masks[j]["mask"],
            )
